# trtbuild on TensorRT 10. BASE_IMAGE is NVIDIA's TensorRT container image of the release whose Triton will serve the
# plans, for example the one tagged 26.04-py3. Build it from the checkout's root; docker/README.md has the commands.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}

ENV PIP_NO_CACHE_DIR=1 \
    PIP_BREAK_SYSTEM_PACKAGES=1 \
    TRTBUILD_CACHE=/cache

COPY dist/trtbuild-*.whl /tmp/wheel/

# A plan loads on the exact TensorRT version that built it, so pip must not replace the image's own.
RUN python3 -c "import tensorrt as t; v = t.__version__; assert v.startswith('10.'), f'this image has TensorRT {v}'" \
 && python3 -c "from importlib.metadata import version; print('tensorrt==' + version('tensorrt'))" > /tmp/pins.txt \
 && python3 -m pip install --constraint /tmp/pins.txt "$(ls /tmp/wheel/trtbuild-*.whl)[torch,triton,gpu]" \
 && rm -r /tmp/wheel /tmp/pins.txt \
 && mkdir -m 1777 /cache \
 && trtbuild --version

WORKDIR /model
ENTRYPOINT ["trtbuild"]
CMD ["doctor"]
