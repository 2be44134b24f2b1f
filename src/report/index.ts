export { type BuiltReport, buildReport, type ReportOptions } from './build-report.js';
export { type ObservedRun, observeRun, type RunOptions } from './observe-run.js';
export { renderPage } from './render-page.js';
export type { Fact, ReportData, TuneData, TuneGoal, TunePoint } from './report-data.js';
