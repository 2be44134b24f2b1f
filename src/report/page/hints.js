import { element } from './dom.js';

const DISTANCE = 8;

/** Shows the explanation of a sign that has the pointer or the focus; Escape hides it. */
export function showHints() {
  const text = element('div', { class: 'hint-text', 'aria-hidden': 'true' });
  text.hidden = true;
  document.body.append(text);
  /** @type {Element | null} */
  let shown = null;
  const show = (/** @type {Event} */ event) => {
    shown = event.target instanceof Element ? event.target.closest('[data-hint]') : null;
    place();
  };
  const place = () => {
    const sign = shown;
    text.hidden = sign === null;
    if (sign === null) return;
    text.textContent = sign.getAttribute('data-hint');
    const box = sign.getBoundingClientRect();
    const { width, height } = text.getBoundingClientRect();
    const left = Math.min(Math.max(DISTANCE, box.left), innerWidth - width - DISTANCE);
    const above = box.top - height - DISTANCE;
    text.style.left = `${left}px`;
    text.style.top = `${above > 0 ? above : box.bottom + DISTANCE}px`;
  };
  const hide = () => {
    shown = null;
    text.hidden = true;
  };
  // The focus may go to a sign that has to be scrolled to: its explanation goes along.
  const follow = () => {
    if (shown !== null && shown === document.activeElement) place();
    else hide();
  };
  document.addEventListener('pointerover', show);
  document.addEventListener('focusin', show);
  document.addEventListener('focusout', hide);
  document.addEventListener('scroll', follow, { passive: true, capture: true });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') hide();
  });
}
