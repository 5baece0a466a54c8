# One image for workers, Flower and every other command: docker run … replibatch COMMAND.
ARG PYTHON=python:3.12.12-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
RUN python -m venv /opt/replibatch
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY replibatch replibatch
COPY workers workers
RUN /opt/replibatch/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt ".[s3,serve]"

FROM ${PYTHON}
# A new volume takes over the owner of the folder it is mounted on.
RUN groupadd --gid 10001 replibatch \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin replibatch \
    && install --directory --owner replibatch --group replibatch /outputs
COPY --from=build /opt/replibatch /opt/replibatch
ENV PATH=/opt/replibatch/bin:$PATH REPLIBATCH_STATE_DIR=/tmp/replibatch
USER 10001:10001
WORKDIR /outputs
ENTRYPOINT ["replibatch"]
CMD ["--help"]
