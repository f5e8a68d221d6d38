// Draws the charts of a leaderboard: Vega-Lite specifications over the numbers in #charts. Expressions are interpreted
// (ast: true), so that the page needs no eval, and nothing is ever fetched. Colours are the page's CSS variables.
'use strict';
(() => {
  const ink = 'var(--ink)', faint = 'var(--faint)', accent = 'var(--accent)', warm = 'var(--warm)';
  const CONFIG = {
    background: 'transparent', view: {stroke: null},
    font: 'system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif',
    axis: {labelColor: ink, titleColor: ink, domainColor: faint, tickColor: faint, gridColor: 'var(--grid)',
           labelFontSize: 11, titleFontSize: 12, titleFontWeight: 'normal', labelOverlap: true},
    legend: {labelColor: ink, titleColor: ink, orient: 'bottom', columns: 4, labelLimit: 160},
    text: {fill: ink, fontSize: 11}, rule: {stroke: faint},
  };
  const KINDS = {domain: ['ranked', 'unmatched', 'control', 'reference']};
  const kind_color = {field: 'kind', type: 'nominal', title: null,
                      scale: {...KINDS, range: [accent, 'var(--amber)', faint, warm]}};
  const kind_shape = {field: 'kind', type: 'nominal', title: null,
                      scale: {...KINDS, range: ['circle', 'diamond', 'cross', 'square']}};
  const AXES = {
    kv: {field: 'kv', title: 'KV bytes a sample', axis: {format: '~s'}},
    flops: {field: 'flops', title: 'FLOPs a sample, prefill and decode', axis: {format: '~s'}},
    nll: {field: 'nll', title: 'NLL, nats an answer token', axis: {}, better: -1},
    accuracy: {field: 'accuracy', title: 'answers that contain the truth, %', axis: {}, better: 1},
  };

  // Points that no other beats at as little cost. Controls do not take part: the best of many draws is an oracle.
  const front_of = (points, x, y) => {
    const sorted = points.filter(p => p.kind !== 'control').sort((a, b) => a[x] - b[x] || AXES[y].better * (b[y] - a[y]));
    const front = [];
    for (const p of sorted)
      if (!front.length || AXES[y].better * (p[y] - front.at(-1)[y]) > 0) front.push(p);
    return front;
  };

  const pareto = (chart, {x = 'kv', y = chart.y} = {}) => {
    const points = chart.points.filter(p => p[x] != null && p[y] != null);
    const front = front_of(points, x, y), costs = points.map(p => p[x]);
    const middle = (Math.min(...costs) + Math.max(...costs)) / 2;
    const position = {
      x: {...AXES[x], type: 'quantitative', scale: {zero: false, nice: true}},
      y: {...AXES[y], type: 'quantitative', scale: {zero: false}},
    };
    delete position.y.better;
    const tip = [{field: 'name', title: 'plan'}, {field: 'budget', title: 'budget'}, {field: y, title: y, format: '.4~g'},
                 {field: `${y}_low`, title: 'low', format: '.4~g'}, {field: `${y}_high`, title: 'high', format: '.4~g'},
                 {field: 'kv', title: 'KV bytes', format: '.4~s'}, {field: 'flops', title: 'FLOPs', format: '.4~s'}];
    return {
      height: 340,
      layer: [
        {data: {values: front}, mark: {type: 'line', interpolate: 'step-after', stroke: faint, strokeDash: [4, 3]},
         encoding: position},
        {data: {values: points}, mark: {type: 'rule', opacity: 0.45},
         encoding: {x: position.x, y: {...position.y, field: `${y}_low`}, y2: {field: `${y}_high`}, color: kind_color}},
        {data: {values: points}, mark: {type: 'point', filled: true, size: 70, opacity: 0.9},
         encoding: {...position, color: kind_color, shape: kind_shape, tooltip: tip}},
        // Names towards the middle, so that none leaves the chart.
        ...[['left', 8], ['right', -8]].map(([align, dx]) => ({
          data: {values: front.filter(p => (p[x] > middle) === (align === 'right'))},
          mark: {type: 'text', align, dx, dy: -8, limit: 150}, encoding: {...position, text: {field: 'name'}},
        })).filter(layer => layer.data.values.length),
      ],
    };
  };

  // Scores by layer: with up to four units a layer, points with one standard error; with more, a map.
  const scores = chart => {
    const values = chart.points.map(([layer, unit, score, error, kept]) => ({
      layer, unit, score, low: error == null ? null : score - error, high: error == null ? null : score + error,
      error, state: kept ? 'kept' : 'not kept'}));
    const tip = [{field: 'layer'}, {field: 'unit'}, {field: 'score', format: '.4~g'},
                 {field: 'error', title: 'standard error', format: '.3~g'}, {field: 'state', title: 'selection'}];
    const layer = {field: 'layer', type: 'ordinal', title: 'layer', axis: {labelAngle: 0},
                   scale: {domain: Array.from({length: chart.layers}, (_, i) => i)}};
    if (chart.units > 4)
      return {
        height: 14 * chart.units, data: {values},
        layer: [
          {mark: 'rect', encoding: {x: layer, y: {field: 'unit', type: 'ordinal', title: 'unit'}, tooltip: tip,
            color: {field: 'score', type: 'quantitative', scale: {scheme: 'viridis'}}}},
          {transform: [{filter: {field: 'state', equal: 'kept'}}], mark: {type: 'point', filled: true, size: 22, fill: '#fff',
            stroke: '#000', strokeWidth: 1}, encoding: {x: layer, y: {field: 'unit', type: 'ordinal'}}},
        ],
      };
    const offset = chart.units > 1 ? {xOffset: {field: 'unit'}} : {};
    const color = {field: 'state', type: 'nominal', title: null,
                   scale: {domain: ['kept', 'not kept'], range: [accent, warm]}};
    return {
      height: 190, data: {values},
      layer: [
        {mark: 'rule', transform: [{filter: {field: 'error', valid: true}}], encoding: {x: layer, ...offset, color,
          y: {field: 'low', type: 'quantitative', title: 'score ± standard error'}, y2: {field: 'high'}}},
        {mark: {type: 'point', filled: true, size: 45}, encoding: {x: layer, ...offset, color, tooltip: tip,
          y: {field: 'score', type: 'quantitative'}, shape: {field: 'state', type: 'nominal', title: null,
          scale: {domain: ['kept', 'not kept'], range: ['circle', 'triangle-down']}}}},
      ],
    };
  };

  const training = chart => ({
    height: 190, data: {values: chart.points.map(([step, value]) => ({step, value}))},
    mark: {type: 'line', stroke: accent, strokeWidth: 1.5, point: chart.points.length < 40 && {fill: accent, size: 20}},
    encoding: {x: {field: 'step', type: 'quantitative', axis: {format: '~s'}},
               y: {field: 'value', type: 'quantitative', title: chart.value, scale: {zero: false}},
               tooltip: [{field: 'step'}, {field: 'value', title: chart.value, format: '.5~g'}]},
  });

  // Depth downwards, length to the right; the number stands in its cell, so that colour is never all there is.
  const heat = chart => {
    const values = chart.points.map(([length, depth, value]) => ({length, depth, value}));
    const [low, high] = chart.domain;
    const place = {x: {field: 'length', type: 'ordinal', title: 'length, tokens', axis: {labelAngle: 0}},
                   y: {field: 'depth', type: 'ordinal', title: 'depth, %'}};
    const title = chart.value;
    // Black on the lighter part of viridis, white on the darker.
    const light = chart.reverse ? {lt: low + 0.55 * (high - low)} : {gt: low + 0.45 * (high - low)};
    return {
      height: 26 * new Set(values.map(v => v.depth)).size, data: {values},
      layer: [
        {mark: 'rect', encoding: {...place, tooltip: [{field: 'length'}, {field: 'depth'}, {field: 'value', title}],
          color: {field: 'value', type: 'quantitative', title, scale: {scheme: 'viridis', domain: [low, high],
          reverse: chart.reverse}, legend: {gradientLength: 160}}}},
        {mark: {type: 'text', fontSize: 11}, encoding: {...place, text: {field: 'value', format: chart.format},
          color: {condition: {test: {field: 'value', ...light}, value: '#000'}, value: '#fff'}}},
      ],
    };
  };

  const MAKERS = {pareto, scores, training, heat};
  const charts = JSON.parse(document.getElementById('charts').textContent);

  const draw = async figure => {
    const chart = charts[Number(figure.dataset.chart)], plot = figure.querySelector('.plot');
    const choice = Object.fromEntries([...figure.querySelectorAll('select')].map(s => [s.name, s.value]));
    const spec = {$schema: 'https://vega.github.io/schema/vega-lite/v6.json', width: 'container',
                  autosize: {type: 'fit-x', contains: 'padding'}, description: plot.getAttribute('aria-label'),
                  config: CONFIG, ...MAKERS[chart.type](chart, choice)};
    figure.dataset.state = 'drawing';
    try {
      await vegaEmbed(plot, spec, {actions: false, ast: true, renderer: 'svg', defaultStyle: false});
      figure.dataset.state = 'drawn';
    } catch (error) {
      plot.textContent = 'This chart could not be drawn; its numbers are in the tables.';
      figure.dataset.state = 'failed';
      console.error(error);
    }
  };

  // What is in sight first, the others one at a time where the browser has nothing to do: a page of a hundred charts
  // opens as fast as one of three, and prints whole.
  const waiting = new Set(document.querySelectorAll('figure[data-chart]'));
  const take = figure => waiting.delete(figure) ? draw(figure) : undefined;
  const seen = new IntersectionObserver(entries => {
    for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); take(entry.target); }
  }, {rootMargin: '200px'});
  for (const figure of waiting) seen.observe(figure);
  const idle = window.requestIdleCallback ?? (work => setTimeout(work, 50));
  const next = async () => {
    const figure = [...waiting].find(one => one.offsetParent !== null);
    if (!figure) return;
    await take(figure);
    idle(next);
  };
  addEventListener('load', () => setTimeout(() => idle(next), 300));
  document.addEventListener('toggle', () => idle(next), true);
  document.addEventListener('change', event => {
    const figure = event.target.closest?.('figure[data-chart]');
    if (figure) draw(figure);
  });
})();
