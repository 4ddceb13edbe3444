# The router: decoder, encoder, seed search. Build from the top of the repository:
#   docker build -f deploy/docker/router.Dockerfile -t winnow-router .
# TORCH_INDEX_URL: PyTorch's package index for the wanted build (CPU or a CUDA version), as its installation page names
# it. Without it PyPI's build is installed, which on x86-64 brings CUDA along: several GB.
# EXTRA: `router`, or `router,otel` for traces.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG TORCH_INDEX_URL
ARG EXTRA=router
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/winnow
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
# Without code in place this installs the libraries alone: a change of the code keeps this layer.
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/winnow/bin/pip install ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} ".[${EXTRA}]"
COPY services services
COPY winnow winnow
COPY router_svc router_svc
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --wheel-dir /wheels . \
    && /opt/winnow/bin/pip install --no-deps --force-reinstall /wheels/*.whl

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="winnow-router" \
      org.opencontainers.image.description="Winnow's filter: compares a video with the seed bank" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 winnow \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin winnow \
    && install --directory --owner=10001 --group=10001 /data /seeds
COPY --from=build /opt/winnow /opt/winnow
ENV PATH=/opt/winnow/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    HF_HOME=/data/huggingface \
    HF_HUB_DISABLE_TELEMETRY=1 \
    XDG_CACHE_HOME=/data/cache \
    WINNOW_ROUTER_HOST=0.0.0.0 \
    WINNOW_ROUTER_PORT=8081 \
    WINNOW_ROUTER_DATA_DIR=/data
# A number, so that an orchestrator can tell that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8081
STOPSIGNAL SIGTERM
# Liveness: a router with an empty bank is not ready, and has to be up to be filled. It listens once its model is loaded.
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['WINNOW_ROUTER_PORT']), timeout=3); c.request('GET', '/health/live'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "router_svc"]
