// What a report does besides being read: sort tables and narrow the samples. No library, nothing is loaded.
'use strict';
(() => {
  const UNITS = {k: 1e3, M: 1e6, G: 1e9, T: 1e12, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40};

  // "97.3 [93.1, 99.9]" is 97.3, "2–5" 2, "14.2 MiB" its bytes, "1.23M" its million; "–" is none.
  const number = text => {
    const found = /^[<]?([+\-−]?\d[\d,]*\.?\d*(?:e[+-]?\d+)?)\s?(KiB|MiB|GiB|TiB|[kMGT](?![a-z]))?/.exec(text.trim());
    return found ? Number(found[1].replace('−', '-').replaceAll(',', '')) * (UNITS[found[2]] ?? 1) : NaN;
  };
  const compare = (a, b) => {
    const x = number(a), y = number(b);
    if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
    return a.localeCompare(b);
  };

  // Rows move within their own group (ranked, controls, references); rows without a value come last either way.
  const sort = header => {
    const row = header.parentElement, table = row.closest('table'), column = [...row.children].indexOf(header);
    const descending = header.getAttribute('aria-sort') === 'ascending';
    for (const other of row.children) if (other.hasAttribute('aria-sort')) other.setAttribute('aria-sort', 'none');
    header.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
    const text = line => line.children[column].dataset.sort ?? line.children[column].textContent;
    const missing = value => value === '' || value === '–';
    for (const body of table.tBodies) {
      const lines = [...body.rows].map(line => [text(line), line]);
      lines.sort(([a], [b]) => missing(a) - missing(b) || (descending ? compare(b, a) : compare(a, b)));
      body.append(...lines.map(([, line]) => line));
    }
    const status = document.getElementById('status');
    if (status) status.textContent = `sorted by ${header.textContent}, ${header.getAttribute('aria-sort')}`;
  };
  document.addEventListener('click', event => {
    const header = event.target.closest?.('thead th[aria-sort]');
    if (header && event.target.closest('button')) sort(header);
  });

  // Tables out of sight are laid out one at a time; all of them before a link within the page is followed, as it
  // would miss its place else.
  const blocks = [...document.querySelectorAll('.block')];
  const lay_out = () => blocks.shift()?.classList.add('laid');
  const idle = window.requestIdleCallback ?? (work => setTimeout(work, 20));
  const later = () => { lay_out(); if (blocks.length) idle(later); };
  addEventListener('load', () => setTimeout(() => idle(later), 500));
  document.addEventListener('click', event => {
    if (event.target.closest?.('a[href^="#"]')) while (blocks.length) lay_out();
  });

  // Of a group of samples, those on which the two chosen plans differ; "any" is every plan.
  const narrow = group => {
    const [a, b] = [...group.querySelectorAll('select')].map(select => select.value);
    let shown = 0;
    for (const sample of group.querySelectorAll('.sample')) {
      const verdicts = sample.dataset.verdicts;
      const differs = (x, y) => {
        if (x === '' && y === '') return true;
        if (x === '' || y === '') {
          const known = verdicts[x === '' ? y : x];
          return known !== '-' && [...verdicts].some(other => other !== '-' && other !== known);
        }
        return verdicts[x] !== '-' && verdicts[y] !== '-' && verdicts[x] !== verdicts[y];
      };
      sample.hidden = !differs(a, b);
      shown += !sample.hidden;
      for (const [i, answer] of [...sample.querySelectorAll('.answers > div')].entries())
        answer.hidden = a !== '' && b !== '' && i !== Number(a) && i !== Number(b);
    }
    group.querySelector('output').textContent = `${shown} shown`;
  };
  document.addEventListener('change', event => {
    const group = event.target.closest?.('.samples');
    if (group) narrow(group);
  });
})();
