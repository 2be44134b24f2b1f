import { addEntryPoints } from './entry-points.mjs';
import { addGuides } from './guides.mjs';
import { rankResults } from './search.mjs';
import { linkGuidesAndApi } from './symbol-links.mjs';

/** A plugin of typedoc: makes the site of docs, examples and the sources' entry points. */
export function load(app) {
  app.on('bootstrapEnd', () => {
    addEntryPoints(app);
    addGuides(app);
    linkGuidesAndApi(app);
    rankResults(app);
  });
}
