# syntax=docker/dockerfile:1
# One image for every node of the pipeline on Kubeflow and Vertex, and for Beam's workers.
#
#   docker build --build-arg CONFIG=pipeline/configs/demo.yaml -t REGISTRY/twotower:TAG .

# Debian 13: the wheels of ml-metadata and tensorflow-data-validation need its glibc.
ARG PYTHON_IMAGE=python:3.11.14-slim-trixie
# The same with a C++ compiler: pyfarmhash comes as source.
ARG BUILD_IMAGE=python:3.11.14-trixie
# Its version is that of apache-beam in requirements.lock.
ARG BEAM_IMAGE=apache/beam_python3.11_sdk:2.77.0

FROM ${BEAM_IMAGE} AS beam

FROM ${BUILD_IMAGE} AS packages
WORKDIR /build
COPY requirements-setup.lock requirements.lock ./
# The lock names every package, with overrides that only pyproject.toml knows of, so --no-deps.
# Bytecode now: the user that runs the containers could not write it.
RUN pip install --no-cache-dir --require-hashes -r requirements-setup.lock \
    && python -m venv /opt/twotower/venv \
    && uv pip install --no-cache --no-deps --require-hashes --compile-bytecode \
        --python /opt/twotower/venv/bin/python -r requirements.lock

FROM ${PYTHON_IMAGE}
# Beam's entry point runs in this environment, where everything is, and makes none of its own. Its
# workers multiply as the nodes do, see pipeline/startup.py.
ENV PATH=/opt/twotower/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    TF_ENABLE_ONEDNN_OPTS=1
RUN useradd --uid 1000 --create-home twotower
COPY --from=beam /opt/apache/beam /opt/apache/beam
COPY --from=packages /opt/twotower/venv /opt/twotower/venv

WORKDIR /opt/twotower/app
COPY pyproject.toml README.md LICENSE ./
COPY components ./components
COPY pipeline ./pipeline
COPY schema ./schema
COPY serving ./serving
RUN pip install --no-cache-dir --no-deps --no-build-isolation --no-index \
    --editable . --editable serving/client

# The settings whose text encoder is made here, so that no node has to.
ARG CONFIG=pipeline/configs/demo.yaml
RUN twotower encoder --config "$CONFIG" --set text_encoder.cache=/opt/twotower/encoders

USER 1000
# Beam's entry point writes a file where it starts.
WORKDIR /home/twotower
ENTRYPOINT ["/opt/apache/beam/boot"]
