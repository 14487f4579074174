# The images of the agent (target `baserunner`, the default) and of Cloudly (target `cloudly`): static programs, from
# scratch.
#
#   docker build .                                            for this machine's architecture
#   docker build --platform linux/arm64 .                     amd64, arm64 and arm/v7: the agent is cross-compiled
#   docker build --target cloudly .                           Cloudly; not cross-compiled
#   docker build --build-arg BINARY=prebuilt DIRECTORY -f Dockerfile
#                                                             with the programs in DIRECTORY, without a registry
#
# `tests/packaging/image` makes such a DIRECTORY. There is no `# syntax=` line, because it would need a registry.
# BuildKit is required, since it skips unused stages.

ARG BINARY=source
ARG RUST_IMAGE=rust:1.95-slim-bookworm

# --- from source -----------------------------------------------------------------------------------------------

FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS baserunner-source
ARG TARGETARCH
ARG TARGETVARIANT
# The time of the commit, seconds since 1970: --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)"
ARG SOURCE_DATE_EPOCH
WORKDIR /src
COPY . .
RUN tests/packaging/build-static baserunner "${TARGETARCH}${TARGETVARIANT}" /out

# SQLite is C code that needs the headers of its libc, so Cloudly is compiled on its own platform.
FROM ${RUST_IMAGE} AS cloudly-source
ARG TARGETARCH
ARG TARGETVARIANT
# The time of the commit, seconds since 1970: --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)"
ARG SOURCE_DATE_EPOCH
WORKDIR /src
COPY . .
RUN tests/packaging/build-static cloudly "${TARGETARCH}${TARGETVARIANT}" /out

# --- from prebuilt programs -------------------------------------------------------------------------------------

FROM scratch AS baserunner-prebuilt
COPY baserunner /out/

FROM scratch AS cloudly-prebuilt
COPY cloudly /out/

# --- the images ------------------------------------------------------------------------------------------------

FROM baserunner-${BINARY} AS baserunner-files
FROM cloudly-${BINARY} AS cloudly-files

FROM scratch AS cloudly
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cloudly" \
      org.opencontainers.image.description="Cloudly's BaseOS manager: nodes, join tokens, heartbeats, releases and desired state" \
      org.opencontainers.image.vendor="serve.zone" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=cloudly-files /out/cloudly /out/LICENSE /out/NOTICE /
# An empty directory, from which a new volume inherits its owner.
COPY --from=cloudly-files --chown=10001:10001 /out/empty/ /data/
ENV CLOUDLY_DATABASE_URL=sqlite:/data/cloudly.db \
    CLOUDLY_LISTEN=0.0.0.0:8080
VOLUME ["/data"]
EXPOSE 8080
USER 10001:10001
# Checks the socket, the admin token and the database.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["/cloudly", "healthcheck"]
ENTRYPOINT ["/cloudly"]
CMD ["serve"]

FROM scratch AS baserunner
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="baserunner" \
      org.opencontainers.image.description="The BaseOS agent: enrols a device in Cloudly, keeps in touch with it, and applies releases through the local Supervisor" \
      org.opencontainers.image.vendor="serve.zone" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Certificates and time zones are compiled in; BASEOS_CLOUDLY_CA sets other certificate authorities.
# The agent becomes the guard's program, which needs less memory, with the command `guard`.
COPY --from=baserunner-files /out/baserunner /out/baserunner-guard /out/LICENSE /out/NOTICE /
# Identity and journal; socket and token; balena's lock files. A new volume inherits its owner from the directory.
COPY --from=baserunner-files --chown=10001:10001 /out/empty/ /data/baseos/
COPY --from=baserunner-files --chown=10001:10001 /out/empty/ /run/baserunner/
COPY --from=baserunner-files --chown=10001:10001 /out/empty/ /tmp/balena/
# These paths are the agent's defaults (BASEOS_STATE_DIR, BASEOS_RUN_DIR, BASEOS_LOCK_DIR), so no ENV is needed.
VOLUME ["/data/baseos", "/run/baserunner"]
# Not root, and not 65534: the Supervisor removes that user's lock files as its own leftovers.
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["/baserunner", "healthcheck"]
ENTRYPOINT ["/baserunner"]
