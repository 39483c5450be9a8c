-- Name of the recording of a talk: on the contact's leg while it lasts, among the call's facts when it has ended.
ALTER TABLE "leg" ADD COLUMN "recording" TEXT;
ALTER TABLE "call_events" ADD COLUMN "recording" TEXT;
