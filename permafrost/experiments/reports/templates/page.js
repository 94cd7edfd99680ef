'use strict';
// Sorting: a click on a header orders the rows by the cells' data-value, or their text.
for (const button of document.querySelectorAll('th button')) {
  button.addEventListener('click', () => {
    const header = button.parentElement, column = header.cellIndex;
    const down = header.ariaSort === 'ascending';
    for (const other of header.parentElement.cells) other.removeAttribute('aria-sort');
    header.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const key = row => {
      const cell = row.cells[column], value = cell.dataset.value ?? cell.textContent.trim();
      return value === '' ? null : isNaN(value) ? value : Number(value);
    };
    const body = header.closest('table').tBodies[0];
    const rows = [...body.rows].map(row => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);  // unknown: last
      const order = typeof a === 'number' && typeof b === 'number' ? a - b
        : String(a).localeCompare(String(b), undefined, {numeric: true});
      return down ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
  });
}
// Hover texts, at once; without this script the browser shows the <title> after a second.
const tip = document.createElement('div');
tip.id = 'tip';
tip.hidden = true;
document.body.append(tip);
for (const mark of document.querySelectorAll('svg .tip')) {
  const title = mark.querySelector('title');
  mark.dataset.tip = title.textContent;
  title.remove();
}
for (const title of document.querySelectorAll('figure svg > title')) {
  title.parentElement.setAttribute('aria-label', title.textContent);
  title.remove();
}
document.addEventListener('pointermove', event => {
  const mark = event.target.closest?.('[data-tip]');
  tip.hidden = !mark;
  if (!mark) return;
  tip.textContent = mark.dataset.tip;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(event.clientX + 12, innerWidth - box.width - 4)) + 'px';
  tip.style.top = (event.clientY > box.height + 16 ? event.clientY - box.height - 10
    : event.clientY + 18) + 'px';
});
