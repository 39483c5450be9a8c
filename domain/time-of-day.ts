/** The local time of day between which a contact may be called (docs/domain.md, "Terms"). */

/** HH:MM, 00:00 to 23:59. */
export const TIME_OF_DAY = /^([01]\d|2[0-3]):[0-5]\d$/;
export const NO_TIME_OF_DAY = 'is not a time of day such as 08:30';
/** Of a `latest` that is the `earliest`. */
export const NO_TIME_LEFT = 'is the same as earliest, which leaves no time to call: leave both out for no limit';
