-- What a request has made is found by its repeat, should its answer have been lost: none is made twice.
ALTER TABLE "campaign" ADD COLUMN "request_key" TEXT;
ALTER TABLE "agent" ADD COLUMN "request_key" TEXT;
ALTER TABLE "api_key" ADD COLUMN "request_key" TEXT;
CREATE UNIQUE INDEX "campaign_request_key_key" ON "campaign"("request_key");
CREATE UNIQUE INDEX "agent_request_key_key" ON "agent"("request_key");
CREATE UNIQUE INDEX "api_key_request_key_key" ON "api_key"("request_key");
