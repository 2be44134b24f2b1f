export { type BuiltReport, buildReport, type ReportOptions } from './build-report.js';
export { type Dashboard, type DashboardOptions, serveDashboard } from './live/serve-dashboard.js';
export { type ObservedRun, observeRun, type RunOptions } from './observe-run.js';
export { renderPage } from './render-page.js';
export type { Fact, LivePageData, ReportData, TuneData, TuneGoal, TunePoint } from './report-data.js';
