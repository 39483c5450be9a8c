-- Calling hours, caps a number, the order of the queue, reschedules (docs/domain.md).

ALTER TABLE "campaign" ADD COLUMN "order_version" INTEGER NOT NULL DEFAULT 1;
ALTER TABLE "campaign" ADD COLUMN "lets_reschedules" BOOLEAN NOT NULL DEFAULT false;

ALTER TABLE "contact" ADD COLUMN "hours_1" INTEGER;
ALTER TABLE "contact" ADD COLUMN "hours_2" INTEGER;
ALTER TABLE "contact" ADD COLUMN "sort_key" BYTEA NOT NULL DEFAULT '\x';
ALTER TABLE "contact" ADD COLUMN "order_version" INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "contact" ADD COLUMN "is_included" BOOLEAN NOT NULL DEFAULT true;
ALTER TABLE "contact" ADD COLUMN "granted" INTEGER NOT NULL DEFAULT 0;
ALTER TABLE "contact" ADD COLUMN "reserved_for" INTEGER;
ALTER TABLE "contact" ADD COLUMN "reserved_until" TIMESTAMPTZ(3);

ALTER TABLE "contact" ADD COLUMN "scheduled_at" TIMESTAMPTZ(3);
ALTER TABLE "call" ADD COLUMN "scheduled_at" TIMESTAMPTZ(3);

ALTER TABLE "dispositions" ADD COLUMN "reschedule_at" TIMESTAMPTZ(3);
ALTER TABLE "dispositions" ADD COLUMN "reschedule_to_agent" BOOLEAN;

CREATE TABLE "hours_profile" (
    "id" SERIAL NOT NULL,
    "zones" TEXT[],
    "country" TEXT NOT NULL,
    "earliest" TEXT NOT NULL,
    "latest" TEXT NOT NULL,

    CONSTRAINT "hours_profile_pkey" PRIMARY KEY ("id")
);
-- The same place and times are one profile: a list has a few dozen of them, whatever its length.
CREATE UNIQUE INDEX "hours_profile_zones_country_earliest_latest_key" ON "hours_profile"("zones", "country", "earliest", "latest");

CREATE TABLE "hours_window" (
    "campaign_id" INTEGER NOT NULL,
    "profile_id" INTEGER NOT NULL,
    "open_until" TIMESTAMPTZ(3),
    "opens_at" TIMESTAMPTZ(3),
    "legal_until" TIMESTAMPTZ(3),
    "legal_opens_at" TIMESTAMPTZ(3),
    "why" TEXT,
    "legal_why" TEXT,
    "due_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "hours_window_pkey" PRIMARY KEY ("campaign_id", "profile_id")
);
CREATE INDEX "hours_window_due_at_idx" ON "hours_window" ("due_at");

-- The bytes by which a contact is sorted in its queue, least first: up to three keys, without any the priority. Each key is
-- 01 and its value, or 02 where it has none: those come last, whichever way the rest is sorted. Texts end with a zero byte,
-- numbers are floats whose bytes sort as they do; for "desc" every bit of the value is turned over. The collation of lower() is
-- named, since that of the database may know no letters but a to z.
CREATE FUNCTION contact_sort_key(variables jsonb, priority integer, created_at timestamptz, keys jsonb) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  turned CONSTANT text := 'fedcba9876543210';
  key jsonb;
  word text;
  number double precision;
  part text;
  sorted text := '';
BEGIN
  keys := coalesce(keys, '[]');
  IF NOT keys @> '[{"by": "priority"}]' THEN
    keys := '[{"by": "priority", "direction": "desc"}]' || keys;
  END IF;
  FOR key IN SELECT jsonb_array_elements(keys) LOOP
    word := NULL;
    number := NULL;
    CASE key ->> 'by'
      WHEN 'priority' THEN number := priority;
      WHEN 'created' THEN number := extract(epoch FROM created_at);
      ELSE
        word := lower(btrim(variables ->> (key ->> 'by')) COLLATE "pg_unicode_fast");
        IF key ->> 'as' = 'number' THEN
          word := replace(replace(word, ' ', ''), ',', '.');
          number := CASE WHEN word ~ '^[+-]?[0-9]{1,15}(\.[0-9]{1,15})?$' THEN word::double precision END;
          word := NULL;
        END IF;
    END CASE;
    part := CASE
      WHEN number < 0 THEN translate(encode(float8send(number), 'hex'), '0123456789abcdef', turned)
      WHEN number IS NOT NULL THEN
        translate(left(encode(float8send(number), 'hex'), 1), '01234567', '89abcdef') || substr(encode(float8send(number), 'hex'), 2)
      WHEN word <> '' THEN encode(convert_to(left(word, 100), 'UTF8'), 'hex') || '00'
    END;
    sorted := sorted || CASE
      WHEN part IS NULL THEN '02'
      WHEN key ->> 'direction' = 'desc' THEN '01' || translate(part, '0123456789abcdef', turned)
      ELSE '01' || part
    END;
  END LOOP;
  RETURN decode(sorted, 'hex');
END $$;

-- Whether a campaign's filter lets a contact be called: every condition of "include" holds and none of "exclude". The values
-- of a condition are in lower case; the empty one stands for a variable that the contact has not.
CREATE FUNCTION contact_included(variables jsonb, filter jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT NOT EXISTS (
    SELECT FROM jsonb_array_elements(filter -> 'include') AS condition
    WHERE NOT condition -> 'values' ? lower(btrim(coalesce(variables ->> (condition ->> 'variable'), '')) COLLATE "pg_unicode_fast")
  ) AND NOT EXISTS (
    SELECT FROM jsonb_array_elements(filter -> 'exclude') AS condition
    WHERE condition -> 'values' ? lower(btrim(coalesce(variables ->> (condition ->> 'variable'), '')) COLLATE "pg_unicode_fast")
  )
$$;

-- The queue in its order, for each of its hours profiles: with 1,000,000 queued rows the next one is an index look-up for
-- each profile whose hours are open (matching/sql.ts).
DROP INDEX "contact_queue";
CREATE INDEX "contact_queue" ON "contact" ("campaign_id", "order_version", "is_included",
  (CASE "next_phone" WHEN 2 THEN "hours_2" ELSE "hours_1" END), "queue_rank", "sort_key", "place", "id") WHERE "state" = 'queued';

-- The list in its order, for the feed: who is called first is taken up first.
CREATE INDEX "contact_feed" ON "contact" ("campaign_id", "order_version", "is_included", "sort_key", "id") WHERE "state" = 'new';

-- Contacts whose numbers have not been placed in zones yet: the campaign's workflow does it before they are queued.
CREATE INDEX "contact_unplaced" ON "contact" ("campaign_id", ("state" = 'new'), "id")
  WHERE ("hours_1" IS NULL OR ("phone_2" IS NOT NULL AND "hours_2" IS NULL)) AND "closed_at" IS NULL;

-- Caps: how often and when a number was dialled, and who waits to dial it.
CREATE INDEX "leg_contact_number" ON "leg" ("destination", "created_at") WHERE "ciq" = 'c' AND "leg_type" = 'contact';
CREATE INDEX "contact_queued_number" ON "contact" ((CASE "next_phone" WHEN 2 THEN "phone_2" ELSE "phone_num" END))
  WHERE "state" = 'queued';
CREATE INDEX "contact_capped" ON "contact" ("wait_until") WHERE "state" = 'waiting' AND "wait_reason" = 'cap';

-- Reschedules of a campaign, and contacts that are to be called before the rest of a list is started.
CREATE INDEX "contact_rescheduled" ON "contact" ("campaign_id", "scheduled_at", "id") WHERE "scheduled_at" IS NOT NULL;
CREATE INDEX "contact_urgent" ON "contact" ("campaign_id", "queue_rank", "id") WHERE "state" = 'new' AND "queue_rank" < 3;

-- Contacts whose time has come and whose workflow has not queued them: it is told once more.
CREATE INDEX "contact_due" ON "contact" ("wait_until") WHERE "state" = 'waiting' AND "wait_reason" IN ('retry_delay', 'rescheduled', 'number_in_use');
CREATE INDEX "dispositions_contact_id_idx" ON "dispositions"("contact_id");

-- Lists that are there already: their contacts are to be placed.
UPDATE "campaign" SET "revision" = "revision" + 1 WHERE "status" <> 'ended';
