# trtbuild on TensorRT 10. A plan loads on the exact TensorRT that built it: take the TensorRT image of the release whose
# Triton will serve the plans. Build it from the checkout's root; docker/README.md has the commands.
ARG BASE_IMAGE=nvcr.io/nvidia/tensorrt:26.04-py3

FROM ${BASE_IMAGE} AS wheel
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY . .
RUN python3 -m venv /tmp/build \
 && PIP_CONSTRAINT=/src/constraints.txt /tmp/build/bin/pip wheel --no-deps --wheel-dir /wheel .

FROM ${BASE_IMAGE}
ARG LINE=10
# Exporting needs no GPU, so torch comes without CUDA: gigabytes less.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG PYCUDA_VERSION=2026.1
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    TRTBUILD_CACHE=/cache \
    PATH=/opt/trtbuild/bin:${PATH}

COPY constraints.txt /tmp/constraints.txt
COPY --from=wheel /wheel /tmp/wheel

# The environment sees the image's own TensorRT; pip must neither replace it nor bring another one.
RUN python3 -c "import tensorrt as t; v = t.__version__; assert v.split('.')[0] == '${LINE}', f'this image has TensorRT {v}'" \
 && python3 -m venv --system-site-packages /opt/trtbuild \
 && python3 -c "from importlib.metadata import version; print('tensorrt==' + version('tensorrt'))" >> /tmp/constraints.txt \
 && echo "pycuda==${PYCUDA_VERSION}" >> /tmp/constraints.txt \
 && /opt/trtbuild/bin/pip install --constraint /tmp/constraints.txt --index-url "${TORCH_INDEX}" torch \
 && /opt/trtbuild/bin/pip install --constraint /tmp/constraints.txt \
      "$(ls /tmp/wheel/trtbuild-*.whl)[torch,triton,gpu,readers]" \
 && rm -r /tmp/wheel /tmp/constraints.txt \
 && mkdir -m 1777 /cache /model \
 && trtbuild --version

WORKDIR /model
USER 1000:1000
ENTRYPOINT ["trtbuild"]
CMD ["doctor"]
