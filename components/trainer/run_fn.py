"""TFX's Trainer calls this: from the transform graph and raw examples to four SavedModels."""

from __future__ import annotations

import json
import time
from pathlib import Path

import keras
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from components.features import Columns
from components.trainer import input_data
from components.trainer.context import leave_context_out, served_position
from components.trainer.distillation import distill
from components.trainer.export import Exporter
from components.trainer.impressions import batches
from components.trainer.settings import ModelSettings, TrainerSettings
from components.trainer.training import train
from components.trainer.training_data import FOLDER
from components.trainer.transform_graph import TransformGraph
from components.trainer.warm_start import warm_start

_TYPICAL_USERS = 8192


def run_fn(fn_args: FnArgs) -> None:
    """Trains and exports the towers, and writes `training.json` beside the run's logs.

    Args:
        fn_args: TFX's; its custom_config holds `columns`, `model` and `trainer`, each as in
            pipeline/config.py, and for a warm start `serving_root`.
    """
    config = fn_args.custom_config
    columns = Columns(**config["columns"])
    settings = TrainerSettings(**config["trainer"])
    run = Path(fn_args.model_run_dir)

    model_settings = ModelSettings(**config["model"])
    transform = TransformGraph(fn_args.transform_output, columns, model_settings.training_only)
    impressions, validation, ads = input_data.write_compact(
        [file for pattern in fn_args.train_files for file in sorted(tf.io.gfile.glob(pattern))],
        run / FOLDER,
        transform,
        columns,
        validation_share=settings.validation_share,
        seed=settings.seed,
        keep_negatives=settings.keep_negatives,
        for_teacher=settings.distillation > 0,
    )
    data = input_data.training_data(impressions, validation, ads, transform)
    if settings.distillation:
        data = distill(data, model_settings, settings)
        impressions, validation = data.impressions, data.validation
    data.save(run / FOLDER)

    keras.utils.set_random_seed(settings.seed)
    model = data.two_tower(model_settings)
    begun_from = (
        warm_start(model, data, Path(config["serving_root"])) if settings.warm_start else None
    )
    tensorboard = keras.callbacks.TensorBoard(str(run / "tensorboard"), write_graph=False)
    start = time.monotonic()
    history = train(model, data, settings, [tensorboard])
    seconds = time.monotonic() - start
    if model_settings.served_position is None:
        leave_context_out(model, data, None)
    else:
        served = served_position(transform, columns, model_settings.served_position)
        leave_context_out(model, data, served)
    users, *_ = next(iter(batches(impressions, data.ads, _TYPICAL_USERS)))
    exporter = Exporter(model, transform, columns)
    exporter.export(Path(fn_args.serving_model_dir), ads.catalogue(), users)

    weight = impressions.weight + validation.weight
    facts = {
        "impressions": round(weight),
        "rows": impressions.rows + validation.rows,
        "ads": len(ads),
        "bytes_an_impression": (impressions.bytes_on_disk + validation.bytes_on_disk) / weight,
        "user_width": transform.user_width,
        "ad_width": transform.ad_width,
        "ad_attribute_width": transform.ad_attribute_width,
        "parameters": model.count_params(),
        "begun_from_version": begun_from,
        "seconds": seconds,
        "history": history,
    }
    (run / "training.json").write_text(json.dumps(facts, indent=1))
