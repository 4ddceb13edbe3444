# The gateway: public API, policy, records. Build from the top of the repository:
#   docker build -f deploy/docker/gateway.Dockerfile -t winnow-gateway .
# EXTRA: `gateway`, or `gateway,otel` for traces.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG EXTRA=gateway
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/winnow
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
# Without code in place this installs the libraries alone: a change of the code keeps this layer.
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/winnow/bin/pip install ".[${EXTRA}]"
COPY services services
COPY winnow winnow
COPY gateway gateway
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --wheel-dir /wheels . \
    && /opt/winnow/bin/pip install --no-deps --force-reinstall /wheels/*.whl

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="winnow-gateway" \
      org.opencontainers.image.description="Winnow's public API: moderation decisions about short videos" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 winnow \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin winnow \
    && install --directory --owner=10001 --group=10001 /data /keys /evidence
COPY --from=build /opt/winnow /opt/winnow
ENV PATH=/opt/winnow/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    WINNOW_GATEWAY_HOST=0.0.0.0 \
    WINNOW_GATEWAY_PORT=8080 \
    WINNOW_GATEWAY_DATA_DIR=/data
# A number, so that an orchestrator can tell that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# Liveness, for there are orchestrators that restart what is unhealthy, and a restart cures no missing dependency.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['WINNOW_GATEWAY_PORT']), timeout=3); c.request('GET', '/health/live'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "gateway"]
