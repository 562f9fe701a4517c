# syntax=docker/dockerfile:1

# The playground; its packages are installed again only when their list changes.
FROM node:24-bookworm-slim AS web
WORKDIR /build/web/graphiql
COPY web/graphiql/package.json web/graphiql/package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY web/graphiql ./
RUN npm run build


FROM rust:1.95-slim-bookworm AS build
WORKDIR /build

# The dependencies alone, behind stub sources: this layer is rebuilt only when a manifest changes.
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
COPY migration/Cargo.toml migration/
# Of the workspace, though not of the server.
COPY examples/clients/rust/Cargo.toml examples/clients/rust/
RUN mkdir -p src migration/src examples/clients/rust/src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs migration/src/lib.rs examples/clients/rust/src/lib.rs \
    && cargo build --release --locked --bin lancewire

# Copied files keep their old times; without the touch cargo would take the stubs for the newer build.
COPY . .
COPY --from=web /build/web/graphiql/dist web/graphiql/dist
RUN find src migration/src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bin lancewire \
    && scripts/split-symbols target/release/lancewire /build/out


# What a debugger needs to tell addresses of the stripped binary apart: docker build --target symbols --output symbols .
FROM scratch AS symbols
COPY --from=build /build/out/lancewire.debug /


FROM debian:bookworm-slim
# Certificates, for connections that are made outwards.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin lancewire \
    && install --directory --owner=lancewire --group=lancewire --mode=0750 /data
COPY --from=build /build/out/lancewire /usr/local/bin/lancewire

ENV LANCEWIRE_ENVIRONMENT=production
# By number: who runs the image can see that it is not root.
USER 10001:10001
# From here the development default, data/ below the working directory, is the volume too.
WORKDIR /
VOLUME /data
EXPOSE 4000

# The image has no HTTP client; bash can open a connection by itself. With a certificate set, plain HTTP is answered by
# 400: that the process lives, which is all that can be seen without TLS.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/4000 && printf 'GET /health/ready HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && read -r _ status _ <&3 && [[ $status == [24]00 ]]"]

CMD ["lancewire", "serve"]
