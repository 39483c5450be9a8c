/** What the worker bundles: every workflow type. */
export { campaign } from './campaign/workflow.ts';
export { contact } from './contact/workflow.ts';
