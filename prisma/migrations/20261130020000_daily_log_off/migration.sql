-- Agents who are logged off at a time of day (docs/domain.md, "Agents").
ALTER TABLE "agent" ADD COLUMN "log_off_time" TEXT;
ALTER TABLE "agent" ADD COLUMN "log_off_zone" TEXT;
ALTER TABLE "agent" ADD COLUMN "log_off_at" TIMESTAMPTZ(3);
