"""Fine-tune KnowFREE with the Trainer: copy this file and change what you need.

    python train_knowfree.py --encoder bert-base-chinese --train train.jsonl --dev dev.jsonl --output my-tagger

Rows are JSON lines: {"id": "1", "tokens": ["我", "们"], "entities": [{"start": 0, "end": 2, "label": "PER"}]}, `end`
exclusive. Rows may carry "extensions" (spans with other labels, which only training sees) and "synthetic": true.
`knowfree train` does more: it shows a quarter of the sentences amid parts of others, for the sake of long texts
(modeling_knowfree/training/joining.py).
"""

import argparse
import math

import torch
from transformers import set_seed

from modeling_knowfree import KnowFreePipeline
from modeling_knowfree.data.readers import read_rows
from modeling_knowfree.encoders import encoder_path
from modeling_knowfree.training.arguments import KnowFreeTrainingArguments, recipe_for
from modeling_knowfree.training.config import auto_extension_schedule, build_config, build_model, target_labels
from modeling_knowfree.training.features import build_features
from modeling_knowfree.training.tokenizer import load_tokenizer
from modeling_knowfree.training.trainer import KnowFreeTrainer
from modeling_knowfree.units_knowfree import KnowFreeCollator, infer_unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True, help="Hub id, folder or name of a packaged encoder")
    parser.add_argument("--train", required=True)
    parser.add_argument("--dev", help="choose the best checkpoint on these; without, the last one is kept")
    parser.add_argument("--output", required=True)
    parser.add_argument("--nested", action="store_true", help="entities may contain one another")
    parser.add_argument("--max_steps", type=int, help="default: what the recipe for small data says")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()

    rows = read_rows(options.train, flat=not options.nested)
    dev = read_rows(options.dev, flat=not options.nested, labels=target_labels(rows)) if options.dev else None

    set_seed(options.seed)  # before the model: its head starts from random weights
    recipe = recipe_for("small", options.encoder, "nested_ner" if options.nested else "ner")
    unit = infer_unit(rows)
    encoder = encoder_path(options.encoder, unit)
    tokenizer = load_tokenizer(encoder, unit)
    config = build_config(
        encoder,
        rows,
        alpha_cap=recipe["alpha_cap"],
        extension_budget=recipe["extension_budget"],
        unit_votes=recipe["unit_votes"],
        tag_weight=recipe["tag_weight"],
        extension_tag_weight=recipe["extension_tag_weight"],
        decoding=recipe["decoding"],
    )
    model = build_model(encoder, config, rows)
    train_features = build_features(rows, tokenizer, config, beta=recipe["beta"])
    dev_features = build_features(dev, tokenizer, config) if dev else None
    if lost := train_features.losses():
        print(lost)

    batch_size = recipe["per_device_train_batch_size"]
    epochs = math.ceil(recipe["num_train_epochs"] * len(rows) / batch_size)
    steps = options.max_steps or max(recipe["min_steps"], epochs)
    arguments = KnowFreeTrainingArguments(
        output_dir=options.output,
        dataloader_pin_memory=torch.cuda.is_available(),
        max_steps=steps,
        learning_rate=recipe["learning_rate"],
        head_learning_rate=recipe["head_learning_rate"],
        warmup_steps=recipe["warmup_steps"],
        weight_decay=recipe["weight_decay"],
        extension_schedule=auto_extension_schedule(rows, nested=options.nested),
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=32,
        eval_strategy="steps" if dev else "no",
        eval_steps=math.ceil(steps / 5),
        save_strategy="steps" if dev else "no",
        save_steps=math.ceil(steps / 5),
        save_total_limit=1,
        load_best_model_at_end=bool(dev),
        metric_for_best_model="f1",
        seed=options.seed,
        report_to="none",
    )
    trainer = KnowFreeTrainer(
        model=model,
        args=arguments,
        train_dataset=train_features,
        eval_dataset=dev_features,
        data_collator=KnowFreeCollator(tokenizer.pad_token_id or 0),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model()  # weights, config, tokenizer, and the code that AutoModel needs

    tagger = KnowFreePipeline(model=trainer.model.eval(), tokenizer=tokenizer, task="knowfree")
    print(tagger(rows[0]["tokens"], is_split_into_words=True))


if __name__ == "__main__":
    main()
