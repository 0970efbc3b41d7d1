"""The KnowFREE span model: what travels to the Hub, and what trains it.

`import modeling_knowfree` registers the classes with transformers' Auto classes and the `"knowfree"` pipeline, so a
saved folder loads by the Auto classes without `trust_remote_code` for whoever has this package.
"""

from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_knowfree import KnowFreeConfig
from .modeling_knowfree import KnowFreeForTokenClassification, KnowFreeModel
from .pipeline_knowfree import KnowFreePipeline

AutoConfig.register("knowfree", KnowFreeConfig, exist_ok=True)
AutoModel.register(KnowFreeConfig, KnowFreeModel, exist_ok=True)
AutoModelForTokenClassification.register(KnowFreeConfig, KnowFreeForTokenClassification, exist_ok=True)
PIPELINE_REGISTRY.register_pipeline(
    "knowfree", pipeline_class=KnowFreePipeline, pt_model=AutoModelForTokenClassification, type="text"
)

__all__ = ["KnowFreeConfig", "KnowFreeForTokenClassification", "KnowFreeModel", "KnowFreePipeline"]
