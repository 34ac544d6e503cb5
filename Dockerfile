# The command `izin` and nothing else: no servers, no build tools, no root.

FROM python:3.13-slim AS build
# A C compiler, for the compiled hot paths.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
WORKDIR /src
COPY pyproject.toml setup.py build_backend.py constraints.txt README.md LICENSE ./
COPY izin ./izin
RUN python -m venv /opt/izin \
    && IZIN_COMPILE=1 /opt/izin/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt '.[server]'

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin izin
COPY --from=build /opt/izin /opt/izin
ENV PATH=/opt/izin/bin:$PATH \
    PYTHONUNBUFFERED=1
# By number, so that Kubernetes can verify that it is not root.
USER 10001
WORKDIR /tmp
ENTRYPOINT ["izin"]
CMD ["--help"]
