# Trains, evaluates, freezes and labels in a container: docs/containers.md.
#   docker build -t permafrost .
#   docker build -t permafrost --build-arg BASE=python:3.12-slim-bookworm --build-arg ENGINE=tf2 .

# A Debian or Ubuntu with bash, the Python of ENGINE, and GCC 9 or newer in its packages.
ARG BASE=python:3.7-slim-bookworm

# The Python packages of ENGINE. They rarely change, so this stage is usually cached.
FROM ${BASE} AS engine
ARG ENGINE=tf1
# For a GPU: a package to install instead of the TensorFlow pinned in requirements/ENGINE.txt.
ARG TENSORFLOW=
ENV PERMAFROST_CACHE=/opt PIP_NO_CACHE_DIR=1
WORKDIR /opt/permafrost
COPY requirements requirements
COPY tools/setup.sh tools/
RUN if [ -n "$TENSORFLOW" ]; then \
      sed -Ei "s|^(intel-)?tensorflow[^; ]*|$TENSORFLOW|" "requirements/$ENGINE.txt"; \
    fi \
    # the log would be lost with this layer
    && { tools/setup.sh "$ENGINE" || { tail -n 30 /opt/venv/*.log; exit 1; }; } \
    && rm -f /opt/venv/*.lock

# Builds label_image and runs the tests. The image copies the program from this stage, so a failing
# test fails the build.
FROM engine AS tested
# hadolint ignore=DL3008 # the distribution of the base decides the versions
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ libjpeg-dev libpng-dev libtcmalloc-minimal4 make procps \
    && rm -rf /var/lib/apt/lists/*
COPY label_image label_image
RUN make -C label_image
COPY . .
# 0 skips the tests.
ARG TESTS=1
RUN if [ "$TESTS" != 0 ]; then \
      .venv/default/bin/python -m pytest -q -p no:cacheprovider -n 2 --dist worksteal \
        -m 'not slow and not real_data'; \
    fi

FROM ${BASE}
LABEL org.opencontainers.image.title="Permafrost" \
      org.opencontainers.image.description="Trains small convnets and freezes them for C++" \
      org.opencontainers.image.licenses="Apache-2.0"
# A pattern, because Debian and Ubuntu name libjpeg differently.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libpng16-16 libtcmalloc-minimal4 \
       '^libjpeg(62-turbo|-turbo8)$' \
    && rm -rf /var/lib/apt/lists/* \
    && { getent passwd 1000 || useradd --uid 1000 --no-create-home --home-dir /tmp permafrost; } \
    # mode of /tmp, so that any user can write to a volume created from these folders
    && install -d -m 1777 /data /work /work/runs /work/trained_models
COPY --from=engine /opt/venv /opt/venv
COPY --from=engine /opt/permafrost/.venv /opt/permafrost/.venv
WORKDIR /opt/permafrost
COPY trained_models trained_models
COPY --from=tested /opt/permafrost/label_image/build/label_image label_image/build/
# Python reads it too.
COPY label_image/graph/allowed_ops.def label_image/graph/
COPY label_image.sh ./
COPY bin bin
COPY deploy/entrypoint.sh deploy/
# As they were installed: TENSORFLOW changes them, and doctor compares them with the packages.
COPY --from=engine /opt/permafrost/requirements requirements
COPY tools/*.py tools/setup.sh tools/
COPY models models
COPY studies studies
COPY permafrost permafrost
COPY LICENSE README.md *.py ./
# Any user may add the environments of other runtimes, which label_image.sh builds.
RUN ln -s /opt/permafrost/bin/permafrost /usr/local/bin/permafrost && chmod 1777 .venv

ENV HOME=/tmp PERMAFROST_CACHE=/data PERMAFROST_DATA=/data PYTHONUNBUFFERED=1
# No VOLUME: files outside a volume of the user's would be lost silently.
WORKDIR /work
USER 1000:1000
ENTRYPOINT ["/opt/permafrost/deploy/entrypoint.sh"]
CMD ["help"]
