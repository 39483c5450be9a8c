/**
 * Why something had to be put right (docs/operations.md, "Repairs"): something had gone wrong before, be it a crash, a lost
 * message or a workflow ended by hand. Work whose time has come (a wrap-up is over, hours open, a retry is due) is none of
 * these, so a healthy installation makes no repair.
 */

export interface RepairMeaning {
  /** What was found. */
  found: string;
  /** What was done. */
  done: string;
  /** What whoever reads of it should look at. */
  look: string;
}

/** By cause. What a repair is about is in its subject: `<kind>/<id>`. */
export const REPAIRS = {
  offer_not_told: {
    found: 'the workflow of an offered contact had not been told of the offer 3 s later',
    done: 'it was told',
    look: 'whether the worker or the API that made the offer has died, and whether Temporal answers in time',
  },
  leaving_not_told: {
    found: "an agent was leaving while the phone rang, and the offer's workflow had not been told 3 s later",
    done: 'it was told: the offer is withdrawn',
    look: 'whether Temporal answers in time, and whether the API has died',
  },
  offer_not_rung: {
    found: 'no workflow came to ring an offer until 5 s after its time',
    done: 'the offer was ended (q switch_lost), the agent freed, the call put back at its place',
    look: "whether Temporal was away or slow, and whether workers carry out the contacts' workflows",
  },
  talk_end_not_told: {
    found: 'a talk was over, and its workflow had not been told 2 s later',
    done: 'it was told: the contact goes on to its wrap-up',
    look: "whether the worker of the talk's node has died, and whether Temporal answers in time",
  },
  contact_overdue: {
    found: 'a reschedule had been taken back 10 s ago, and the workflow of the contact, who had talked and so was done, waited on',
    done: 'it was told: the contact is done',
    look: 'whether the API has died, or Temporal was away, when the reschedule was taken back',
  },
  campaign_unattended: {
    found: 'a change of a campaign was not carried out, and nobody was at it',
    done: 'its workflow was told, and started if it was no more',
    look: 'whether the API has died, or Temporal was away, at the change; whether the workflow was ended by hand',
  },
  stop_unattended: {
    found: 'an emergency stop had not been carried out 5 s later',
    done: 'what was not answered was ended',
    look: 'whether any worker was running, and whether Temporal was away',
  },
  listed_not_told: {
    found: 'a contact was being offered or called 3 s after its number had been listed as do-not-call',
    done: 'its workflow was told to end it',
    look: 'whether the API has died, or Temporal was away, when the number was listed',
  },
  agent_lost: {
    found: "an agent's stream or heartbeats had stayed away for 30 s, the phone ringing or a call on",
    done: 'the agent is logged off after the call; an offer that rang was withdrawn',
    look: "the agent's connection; with many at once, whether the API was away",
  },
  agent_held: {
    found: "an agent's wrap-up or rest had been over for 10 s and nobody had ended it",
    done: 'it was ended',
    look: 'whether any worker was running, and whether PostgreSQL was slow',
  },
  log_off_missed: {
    found: "an agent's daily log-off was more than 10 min late",
    done: 'it was left out: whoever is logged on by then is not meant',
    look: 'why no worker was running at that time',
  },
  agent_stuck: {
    found: 'an agent was still engaged by an offer that was over',
    done: 'a supervisor released the agent',
    look: 'the log of the workers around the end of that offer: this is a defect, report it',
  },
  restored: {
    found: 'after a restore nobody could tell what had come of the contact',
    done: 'it was disabled, or ended as its workflow had',
    look: "what the switch or the carrier has on record of it; POST /v1/contacts/{id}/enable calls it again",
  },
  workflow_closed: {
    found: 'the workflow of a contact was no more: ended by hand, failed, or lost',
    done: 'an offer was withdrawn, the call ended, the contact closed: disabled, if there had been no talk',
    look: "who ended the workflow, in the Temporal UI; POST /v1/contacts/{id}/enable calls the contact again",
  },
  contact_stranded: {
    found: 'a contact waited on the line for another agent, whom a workflow that was no more was to bring',
    done: 'the contact was hung up',
    look: 'who ended the workflow, in the Temporal UI; the person may expect to be called back',
  },
  node_lost: {
    found: 'nobody had held the node of an offer for 30 s',
    done: 'its workflow was told: its legs count as lost (e switch_lost, answered ones k), the agent is freed',
    look: "the node's worker, and whether a stand-in for it should run",
  },
  node_lapsed: {
    found: 'the worker that held a node had not renewed its lease for 8 s',
    done: 'this worker took the node and compared its legs with the switch',
    look: 'whether that worker has died, was frozen, or could not reach PostgreSQL',
  },
  switch_lost: {
    found: 'a leg was open whose switch had been away for 5 s, or had lost its calls',
    done: 'the leg counts as lost (e switch_lost or unknown, an answered one k), the agent is freed',
    look: 'the switch, and the way from the worker to it',
  },
  leg_unknown: {
    found: 'a leg was open that its switch did not know (any more)',
    done: 'it counts as lost (e switch_lost or unknown, an answered one k), and is not dialled again in this call',
    look: 'whether the switch was started anew, or a worker died between writing the leg and sending it',
  },
  leg_not_sent: {
    found: 'a leg came to the switch after its time, 5 s after it was written',
    done: 'the switch refused it; it ended as e unknown',
    look: 'whether the worker was frozen or overloaded, and whether its clock is right',
  },
  leg_unowned: {
    found: 'the switch had a leg up whose call was over',
    done: 'it was hung up',
    look: 'what else was repaired at that time: a lost switch or node, or a workflow that was no more',
  },
  leg_adopted: {
    found: 'a phone was being rung by a worker that had gone, or had not been heard of for 10 s',
    done: 'another try took the leg over: nothing was dialled twice',
    look: 'whether that worker has died or was frozen',
  },
  webhook_lapsed: {
    found: 'the worker that delivered to a webhook had not been heard of for 20 s',
    done: 'another one goes on with the same delivery',
    look: 'whether that worker has died or was frozen',
  },
} as const satisfies Record<string, RepairMeaning>;

export type RepairCause = keyof typeof REPAIRS;
export const REPAIR_CAUSES = Object.keys(REPAIRS) as [RepairCause, ...RepairCause[]];

/** What a repair can be about. */
export const REPAIR_SUBJECTS = ['contact', 'call', 'offer', 'leg', 'agent', 'campaign', 'node', 'webhook'] as const;
export type RepairSubject = (typeof REPAIR_SUBJECTS)[number];
