import { lstatSync, readlinkSync, type Stats, statSync } from 'node:fs';
import { isAbsolute, resolve, sep } from 'node:path';
import { MemoryError } from '../core/errors.js';

/** @see Source: Linux, include/linux/namei.h, MAXSYMLINKS */
const MAX_LINKS = 40;
const STICKY = 0o1000;
const WRITABLE_BY_ALL = 0o002;
/** Where the kernel names the open files of a process. */
const OPEN_FILES = /^\/proc\/.+\/fd$/;

/**
 * Gives the place that a path leads to. There may be nothing: then it is where a file would be made.
 *
 * The place has no links but one: a process's open file, `/proc/1/fd/3`, keeps its name, since the text of that link need be no path.
 *
 * A link of another user in a sticky folder that everyone may write to (`/tmp`) is not followed: it may lead to any file of the one
 * who runs this. That is the kernel's rule where `fs.protected_symlinks` is on, there for the last part of a path alone.
 *
 * @throws ERR_MEM_BAD_INPUT for such a link; what the system says of a path that it does not follow
 */
export function behindLinks(path: string, followed = 0): string {
  const waiting = absolutePath(path).split(sep);
  // The part before the first separator: nothing, or a drive.
  let folder = waiting.shift() as string;
  for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      folder = folder.slice(0, Math.max(0, folder.lastIndexOf(sep)));
      continue;
    }
    const next = `${folder}${sep}${part}`;
    const found = lstatSync(next, { throwIfNoEntry: false });
    if (found === undefined) return [next, ...waiting].join(sep);
    if (found.isSymbolicLink() && !(waiting.length === 0 && isOpenFile(next))) {
      checkNotPlanted(next, found, statSync(folder + sep));
      if (followed === MAX_LINKS) throw Object.assign(new Error(path), { code: 'ELOOP' });
      const target = readlinkSync(next);
      return behindLinks([isAbsolute(target) ? target : folder + sep + target, ...waiting].join(sep), followed + 1);
    }
    folder = next;
  }
  return folder === '' ? sep : folder;
}

/** Whether a place is the name of an open file of a process. */
export function isOpenFile(place: string): boolean {
  return OPEN_FILES.test(place.slice(0, Math.max(0, place.lastIndexOf('/'))));
}

/** Leaves each `..` in: it leads out of where a link leads to. On Windows it goes by names. */
function absolutePath(path: string): string {
  if (process.platform === 'win32') return resolve(path);
  return isAbsolute(path) ? path : `${process.cwd()}/${path}`;
}

function checkNotPlanted(link: string, { uid }: Stats, folder: Stats): void {
  const isOpenToAll = (folder.mode & STICKY) !== 0 && (folder.mode & WRITABLE_BY_ALL) !== 0;
  if (!isOpenToAll || uid === folder.uid || uid === process.geteuid?.()) return;
  const reason = "it is another user's link in a folder that everyone may write to, and is not followed";
  throw new MemoryError('ERR_MEM_BAD_INPUT', { file: link, line: 0, reason });
}
