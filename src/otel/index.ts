/**
 * Statistics of runtimes and budgets as OpenTelemetry metrics.
 *
 * @module
 */

export { publishBudgets } from './publish-budgets.js';
export { type OpenTelemetryOptions, type PublishedStats, publishMemoryStats } from './publish-memory-stats.js';
