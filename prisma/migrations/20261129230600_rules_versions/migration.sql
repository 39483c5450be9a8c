-- The rules of a campaign as they once were, with who changed them and when.
CREATE TABLE "rules_version" (
    "campaign_id" INTEGER NOT NULL,
    "version" INTEGER NOT NULL,
    "rules" JSONB NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "by" TEXT NOT NULL,

    CONSTRAINT "rules_version_pkey" PRIMARY KEY ("campaign_id","version")
);

ALTER TABLE "rules_version" ADD CONSTRAINT "rules_version_campaign_id_fkey" FOREIGN KEY ("campaign_id") REFERENCES "campaign"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

ALTER TABLE "campaign" ADD COLUMN "rules_version" INTEGER NOT NULL DEFAULT 1;

-- What the campaigns have by now is their first version; who wrote it is not known any more.
INSERT INTO "rules_version" ("campaign_id", "version", "rules", "at", "by")
SELECT "id", 1, "rules", "updated_at", 'system' FROM "campaign";

-- Null until the first offer. Calls that are under way go on without: under the rules of now, as they began. No foreign
-- key: it would lock the campaign's version for each offer, and nobody deletes one.
ALTER TABLE "call" ADD COLUMN "rules_version" INTEGER;
