-- Who changed what: a row for each request of people that may change something, written before it is carried out.
CREATE TABLE "audit" (
    "id" BIGSERIAL NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "by" TEXT NOT NULL,
    "method" TEXT NOT NULL,
    "route" TEXT NOT NULL,
    "subject" TEXT NOT NULL,
    "subject_id" TEXT,
    "fields" TEXT[],
    "status" INTEGER,

    CONSTRAINT "audit_pkey" PRIMARY KEY ("id")
);

-- One is asked what has happened to a thing, or what a key has done, the latest first.
CREATE INDEX "audit_subject_subject_id_id_idx" ON "audit"("subject", "subject_id", "id");
CREATE INDEX "audit_by_id_idx" ON "audit"("by", "id");

-- For the stretch of time that is asked for, and what is to be forgotten.
CREATE INDEX "audit_at_idx" ON "audit"("at");
