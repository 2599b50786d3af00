# trtbuild with TensorRT for RTX: builds plans for RTX GPUs on a machine without one. Build it from the checkout's root;
# docker/README.md has the commands.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS site
# Exporting needs no GPU, so torch comes without CUDA: gigabytes less.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# A C compiler, for what calibration counts with; any release of it does.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
COPY . .
RUN python -m venv /tmp/build \
 && PIP_CONSTRAINT=/src/constraints.txt /tmp/build/bin/pip wheel --no-deps --wheel-dir /wheel . \
 && python -m venv /opt/trtbuild \
 && /opt/trtbuild/bin/pip install --constraint constraints.txt --index-url "${TORCH_INDEX}" torch \
 && /opt/trtbuild/bin/pip install --constraint constraints.txt "$(ls /wheel/trtbuild-*.whl)[all]"

FROM ${BASE_IMAGE}
ENV PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    TRTBUILD_CACHE=/cache \
    PATH=/opt/trtbuild/bin:${PATH}
COPY --from=site /opt/trtbuild /opt/trtbuild
RUN mkdir -m 1777 /cache /model \
 && trtbuild --version

WORKDIR /model
USER 1000:1000
ENTRYPOINT ["trtbuild"]
CMD ["doctor"]
