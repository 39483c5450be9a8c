-- What a person is to look at is found among the few legs that ended so, not among all there ever were. Made beside calls, which
-- write legs meanwhile: so it is a migration of its own, which is no transaction.
CREATE INDEX CONCURRENTLY "leg_objected" ON "leg" ("ended_at") WHERE "ciq" = 'c' AND "result_response" IN (607, 608);
