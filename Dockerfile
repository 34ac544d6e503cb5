# The command `izin` and nothing else: no servers, no build tools, no root, nothing to write but what is mounted.
#
#     docker build --build-arg REVISION=$(git rev-parse HEAD) --tag izin:0.2.0 .

# The Python that the figures of docs/benchmarks.md are measured on is of the same line.
FROM python:3.11.16-slim-trixie AS build
# A C compiler, for the compiled hot paths.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
WORKDIR /src
COPY constraints.txt ./
# Every package by its hash; what is installed comes from here alone. BUILD names those without a wheel for this platform.
ARG BUILD
RUN pip wheel --quiet --no-cache-dir --disable-pip-version-check --no-deps --require-hashes \
    --only-binary :all: ${BUILD:+--no-binary $BUILD} --wheel-dir /pins -r constraints.txt
COPY pyproject.toml setup.py build_backend.py README.md LICENSE ./
COPY izin ./izin
RUN python -m venv /opt/izin \
    && IZIN_COMPILE=1 /opt/izin/bin/pip install --no-cache-dir --disable-pip-version-check --no-index --find-links /pins '.[server]'

FROM python:3.11.16-slim-trixie
ARG REVISION=unknown
LABEL org.opencontainers.image.title="izin" \
      org.opencontainers.image.description="Event-driven consent pipeline for İYS, Turkey's register of commercial-message consent" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="python:3.11.16-slim-trixie"
# The folder is where the state of an order worker is mounted (IZIN_STATE=rocksdb).
RUN groupadd --system --gid 10001 izin \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin izin \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/izin
COPY --from=build /opt/izin /opt/izin
COPY deploy/healthcheck.py /opt/izin/healthcheck.py
ENV PATH=/opt/izin/bin:$PATH \
    HOME=/tmp \
    IZIN_STATE_FOLDER=/var/lib/izin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# By number, so that Kubernetes can verify that it is not root.
USER 10001:10001
WORKDIR /tmp
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=6 CMD ["python", "-I", "/opt/izin/healthcheck.py"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["izin"]
CMD ["--help"]
