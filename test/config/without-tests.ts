import type { ViteUserConfig } from 'vitest/config';
import whole from '../../vitest.config.js';

/** The suite without some of its tests. By a config of its own: --exclude says nothing to projects. */
export function withoutTests(leftOut: readonly string[]): ViteUserConfig {
  const projects = (whole.test?.projects ?? []).map((project) => {
    const { test, ...rest } = project as { readonly test: { readonly exclude: string[] } };
    return { ...rest, test: { ...test, exclude: [...test.exclude, ...leftOut] } };
  });
  return { ...whole, test: { ...whole.test, projects } };
}

/** All files in folders below test. */
export function inFolders(...folders: readonly string[]): string[] {
  return folders.map((folder) => `test/${folder}/**`);
}
