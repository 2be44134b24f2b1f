/**
 * Pages that show what managers did, and a page of a running program, with Prometheus.
 *
 * @module
 */

export { type BuiltReport, buildReport, pickWinner, type ReportOptions } from './build-report.js';
export { type BuiltWhatIf, buildWhatIf, type WhatIfPageOptions } from './build-whatif.js';
export { type Dashboard, type DashboardOptions, serveDashboard } from './live/serve-dashboard.js';
export { observeRecording } from './observe-recording.js';
export { type ObservedRun, observeRun, type RunOptions } from './observe-run.js';
export { type PageContent, renderPage } from './render-page.js';
export type * from './report-data.js';
