// Packs the package, installs it into an empty project, and uses it there as a new user would: what does not depend on Node once,
// the rest under the Node of this process. `npm run test:nodes` does the rest under the other ones.
import { checkTypes } from './check-types.mjs';
import { bin, ConsumerProject, check } from './consumer-project.mjs';
import { useTarball, writePrograms } from './use-tarball.mjs';

const project = new ConsumerProject();
try {
  check('publint', () => void project.run(bin('publint'), [project.tarball, '--strict']));
  const wrong = [project.tarball, '--profile', 'esm-only', '--no-emoji', '--format', 'ascii'];
  check('are the types wrong?', () => void project.run(bin('attw'), wrong));
  checkTypes(project);
  writePrograms(project);
  useTarball(project, process.execPath);
  console.log('the tarball works in an empty project');
} finally {
  project.dispose();
}
