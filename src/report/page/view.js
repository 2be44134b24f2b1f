/**
 * What all parts of the page share: the runs, the curves' axis, the chosen run and moment. A replay's view is fixed, a
 * live one grows.
 *
 * @typedef {object} Run
 * @property {string} name
 * @property {string} colour - the name of its colour in the style sheet
 * @property {string | null} failure
 *
 * @typedef {object} Block
 * @property {number} address
 * @property {number} bytes - as asked for
 * @property {number} padding - bytes that the block is larger than that
 * @property {number} age - in units of the view's axis
 * @property {string} tag
 * @property {string} site
 *
 * @typedef {object} Segment
 * @property {number} start
 * @property {number} bytes
 * @property {boolean} paged - touches its neighbour without a border
 */

/** Tells its listeners of a change, at most once a frame. */
export class Signal {
  /** @type {(() => void)[]} */
  #listeners = [];
  #waiting = false;

  /** @param {() => void} listener */
  on(listener) {
    this.#listeners.push(listener);
  }

  send() {
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      for (const listener of this.#listeners) listener();
    });
  }
}
