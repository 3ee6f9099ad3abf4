# Build stage. rust-toolchain.toml stays out (.dockerignore): the image is the toolchain.
FROM rust:1.95-bookworm AS build
WORKDIR /src

# The dependencies alone, so that this layer lasts until Cargo.lock changes.
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
RUN mkdir -p src tests/it benches/mint \
    && echo 'fn main() {}' | tee src/main.rs benches/mint/main.rs > tests/it/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin avouch \
    && rm -r src tests benches

# For `avouch --version`: docker build --build-arg AVOUCH_COMMIT="$(git rev-parse --short=12 HEAD)" .
ARG AVOUCH_COMMIT

# COPY keeps the files' times, which may be older than the stand-ins above: touch makes cargo look again.
COPY . .
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --bin avouch

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 avouch \
    && useradd --uid 10001 --gid avouch --no-log-init --home-dir /data --no-create-home --shell /usr/sbin/nologin avouch \
    && install -d -o avouch -g avouch -m 0700 /data /keys
COPY --from=build /src/target/release/avouch /usr/local/bin/avouch

# Set AVOUCH__ISSUER to the public https origin, or mount an avouch.toml and pass `serve --config`.
ENV AVOUCH__LISTEN=0.0.0.0:4000
VOLUME ["/data", "/keys"]
EXPOSE 4000
# So that the defaults are /data/avouch.db and /keys.
WORKDIR /
USER avouch

# bash speaks TCP itself, so the image needs no HTTP client.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/4000 && printf 'GET /healthz HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [[ $status == 200 ]]"]
ENTRYPOINT ["avouch"]
CMD ["serve"]
