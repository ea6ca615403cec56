"""Uploads one pushed model to Vertex AI, which serves it with the stock TF Serving image.

    python -m serving.deploy.vertex.upload click_model gs://bucket/serving/click_model \
        --project my-project --location europe-west4

Vertex sends its requests in TF Serving's own row form, {"instances": [...]}.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from components import features
from components.errors import InputError

IMAGE = "docker.io/tensorflow/serving:2.20.0"
_REST_PORT = 8501


def upload_arguments(model: str, source: str, image: str = IMAGE) -> dict[str, Any]:
    """Returns the arguments of aiplatform.Model.upload.

    Args:
        model: one of the models that the pipeline pushes.
        source: its folder in Cloud Storage; holds numbered versions; the newest serves.
        image: TF Serving, where Vertex can pull it.

    Raises:
        InputError: no such model, or a folder that is not in Cloud Storage.
    """
    if model not in features.MODELS:
        raise InputError(f"{model}: no such model; there are: {', '.join(features.MODELS)}")
    if not source.startswith("gs://"):
        raise InputError(f"{source}: expected a folder in Cloud Storage, gs://bucket/…/{model}")
    return {
        "display_name": f"twotower-{model}",
        "artifact_uri": source,
        "serving_container_image_uri": image,
        "serving_container_command": ["tensorflow_model_server"],
        "serving_container_args": [
            "--port=8500",
            f"--rest_api_port={_REST_PORT}",
            f"--model_name={model}",
            # Vertex copies the folder and puts the copy's address here.
            "--model_base_path=$(AIP_STORAGE_URI)",
        ],
        "serving_container_ports": [_REST_PORT],
        "serving_container_predict_route": f"/v1/models/{model}:predict",
        "serving_container_health_route": f"/v1/models/{model}",
    }


def upload(
    model: Annotated[str, typer.Argument(help="One of the models that the pipeline pushes.")],
    source: Annotated[str, typer.Argument(help="Its folder in Cloud Storage.")],
    project: Annotated[str, typer.Option(help="Google Cloud project.")],
    location: Annotated[str, typer.Option(help="Region, such as europe-west4.")],
    image: Annotated[str, typer.Option(help="TF Serving, where Vertex can pull it.")] = IMAGE,
) -> None:
    """Upload one pushed model to Vertex AI."""
    try:
        arguments = upload_arguments(model, source, image)
    except InputError as error:
        typer.echo(error, err=True)
        raise typer.Exit(error.exit_code) from None
    from google.cloud import aiplatform  # late: slow to import, and --help does not need it

    aiplatform.init(project=project, location=location)
    typer.echo(aiplatform.Model.upload(**arguments).resource_name)


if __name__ == "__main__":
    typer.run(upload)
