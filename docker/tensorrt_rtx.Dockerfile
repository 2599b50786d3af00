# trtbuild with TensorRT for RTX: builds plans for RTX GPUs on a machine without one.
FROM python:3.11-slim

ENV PIP_NO_CACHE_DIR=1 \
    TRTBUILD_CACHE=/cache

COPY dist/trtbuild-*.whl /tmp/wheel/

RUN python -m pip install "$(ls /tmp/wheel/trtbuild-*.whl)[all]" \
 && rm -r /tmp/wheel \
 && mkdir -m 1777 /cache \
 && trtbuild --version

WORKDIR /model
ENTRYPOINT ["trtbuild"]
CMD ["doctor"]
