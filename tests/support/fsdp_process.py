"""`knowfree` under examples/accelerate/fsdp.yaml, in fp32 and on CPUs, where accelerate alone would fall back to DDP."""

import os

import yaml
from accelerate import PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

import knowfree
from tests.support import ROOT

settings = yaml.safe_load((ROOT / "examples" / "accelerate" / "fsdp.yaml").read_text())
# As `accelerate launch` tells its processes.
for name, value in settings["fsdp_config"].items():
    told = str(value).lower() if isinstance(value, bool) else str(value)
    os.environ[name.upper().replace("_LAYER_CLS_", "_CLS_")] = told
os.environ["ACCELERATE_USE_FSDP"] = "true"
made = AcceleratorState.__init__


def sharded(self, *args, fsdp_plugin=None, **kwargs):
    made(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is not None:
        self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        self.fsdp_plugin = fsdp_plugin


AcceleratorState.__init__ = sharded

if __name__ == "__main__":
    import sys

    from torch.distributed.fsdp import FSDPModule

    from modeling_knowfree.training.trainer import KnowFreeTrainer

    stepped = KnowFreeTrainer.training_step

    def step(self, model, *args, **kwargs):
        if self.state.global_step == 0:
            parts = [name for name, module in model.named_modules() if isinstance(module, FSDPModule)]
            local = sum(parameter.to_local().numel() for parameter in model.parameters())
            whole = sum(parameter.numel() for parameter in model.parameters())
            sys.stderr.write(f"sharded: {len(parts)} parts, {local} of {whole} numbers here\n")
        return stepped(self, model, *args, **kwargs)

    KnowFreeTrainer.training_step = step
    knowfree.main()
