# Two images of one source. `product`, the last and so the default, runs API, workers and the simulated switch; `tools`
# has the Prisma CLI besides and prepares the servers. Node runs the TypeScript as it is: nothing is compiled.

# The release that package.json has for development: the one that the tests ran on.
FROM node:24.21.0-slim AS base
WORKDIR /app
COPY .npmrc package.json package-lock.json ./

FROM base AS libraries
# No install script is needed: native code comes ready-made in packages, and only for development is there a Node in one.
RUN npm ci --omit=dev --ignore-scripts

FROM base AS tools
RUN npm ci --ignore-scripts
COPY prisma.config.ts ./
COPY prisma/ prisma/
RUN node_modules/.bin/prisma generate
COPY config/ config/
COPY dev/ dev/
USER node
CMD ["node", "dev/prepare.ts"]

FROM base AS product
ENV NODE_ENV=production HOST=0.0.0.0 DATA_DIR=/data
# What a volume at /data is like when it is new: it belongs to who writes there.
RUN install --directory --owner=node --group=node /data
COPY --from=libraries /app/node_modules/ node_modules/
COPY --from=tools /app/prisma/ prisma/
COPY activities/ activities/
COPY api/ api/
COPY config/ config/
COPY domain/ domain/
COPY matching/ matching/
COPY telephony/ telephony/
COPY webhooks/ webhooks/
COPY worker/ worker/
COPY workflows/ workflows/
# Kept in the image: a worker that is started again is back sooner.
RUN ["node", "-e", "import('./worker/bundle.ts').then(({ workflowBundle }) => workflowBundle())"]
USER node
EXPOSE 3000
# Each process ends in order by it (docs/operations.md). The command is Node itself, so no shell keeps the signal.
STOPSIGNAL SIGTERM
CMD ["node", "api/main.ts"]
