// The table of calls: columns, search, facets, sorting, and a list that draws only the rows in view.
const FACETS = [['status', 'Any status'], ['outcome', 'Any outcome'], ['model', 'Any model'], ['feature', 'Any feature'],
  ['team', 'Any team'], ['prompt', 'Any prompt version'], ['set', 'Any set'], ['error', 'Any error']];
const HEIGHT = 34, EXTRA = 12;

class Calls {
  constructor(data) {
    Object.assign(this, data.num);
    this.data = data;
    const scaled = (column, unit) => column.map((v) => (v === null ? null : v / unit));
    this.latency = scaled(data.num.latency, 1e5);
    this.ttft = scaled(data.num.ttft, 1e5);
    this.usd = scaled(data.num.usd, 1e9);
    this.n = data.n;
    this.id = data.id;
    this.start = [];
    let last = 0;
    for (const step of data.time) this.start.push(step === null ? null : (last += step));
    this.score = data.scores[0] || new Array(data.n).fill(null);
  }
  text(column, row) {
    const [values, codes] = this.data.dict[column];
    return codes[row] < 0 ? '' : values[codes[row]];
  }
  node(row) {
    return this.text('node', row).replace('\u0001', () => this.text('case', row)).replace('\u0002', this.repeat[row]);
  }
  name(row) {
    const name = this.text('case', row) || this.node(row).split('::').pop() || this.id[row];
    return name;
  }
  haystack(row) {
    if (!this.hay) this.hay = new Array(this.n);
    return this.hay[row] ??= [this.id[row], this.node(row), ...FACETS.map(([f]) => this.text(f, row))].join(' ').toLowerCase();
  }
  // Rows of the calls behind a rule, kept as differences.
  behind(rule) {
    let at = 0;
    return new Set((this.data.rules[rule] || []).map((step) => (at += step)));
  }
  // Read what a search reads while nobody waits, so that the first one is as fast as the next.
  prepare(from) {
    const idle = window.requestIdleCallback || ((work) => setTimeout(work, 50));
    idle(() => {
      const to = Math.min(this.n, from + 2000);
      for (let row = from; row < to; row += 1) this.haystack(row);
      if (to < this.n) this.prepare(to);
    });
  }
  // A link may hold a longer or a shorter id than the page does.
  find(id) {
    const whole = this.id.indexOf(id);
    if (whole >= 0) return whole;
    if (id.length < 4) return -1;
    return this.id.findIndex((own) => own.startsWith(id) || id.startsWith(own));
  }
  key(sort) {
    if (sort === 'test') return (row) => this.name(row);
    if (sort === 'status') return (row) => this.text('status', row) + ' ' + this.text('outcome', row);
    if (sort === 'model') return (row) => this.text('model', row);
    const column = { latency: this.latency, ttft: this.ttft, tokens: this.output, cost: this.usd, score: this.score,
      time: this.start }[sort];
    return column ? (row) => column[row] : (row) => row;
  }
}

function select(calls, state) {
  const wanted = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const checks = [];
  if (state.rule) {
    const behind = calls.behind(state.rule);
    checks.push((row) => behind.has(row));
  }
  for (const [facet] of FACETS) {
    if (!state[facet]) continue;
    const [values, codes] = calls.data.dict[facet];
    const code = values.indexOf(state[facet]);
    checks.push((row) => codes[row] === code);
  }
  if (wanted.length) checks.push((row) => wanted.every((word) => calls.haystack(row).includes(word)));
  const rows = [];
  for (let row = 0; row < calls.n; row += 1) if (checks.every((check) => check(row))) rows.push(row);
  if (state.sort) {
    const down = state.sort.startsWith('-'), key = calls.key(state.sort.replace('-', '')), side = down ? -1 : 1;
    const unknown = (v) => v === null || v === undefined || v === '';
    rows.sort((a, b) => {
      const x = key(a), y = key(b);
      if (unknown(x) || unknown(y)) return unknown(x) - unknown(y) || a - b;  // unknown last, either way
      return (x < y ? -side : x > y ? side : 0) || a - b;
    });
  }
  return rows;
}

class Table {
  constructor(calls, state, changed, open) {
    Object.assign(this, { calls, state, changed, open, at: 0, rows: [] });
    this.top = calls.latency.reduce((most, v) => (v > most ? v : most), 0) || 1;
    this.build();
  }
  build() {
    const host = by('table');
    this.search = make('input', { type: 'search', placeholder: 'Search id, test, model, error …  ( / )', 'aria-label': 'Search calls' });
    this.search.addEventListener('input', () => { this.state.q = this.search.value; this.refresh(true); });
    this.rule = make('button', { type: 'button', class: 'chip', hidden: true });
    this.rule.addEventListener('click', () => { this.state.rule = ''; this.refresh(true); });
    this.selects = FACETS.map(([facet, any]) => this.facet(facet, any)).filter(Boolean);
    this.count = make('output', { 'aria-live': 'polite' });
    this.clear = make('button', { type: 'button', class: 'quiet' }, 'Clear');
    this.clear.addEventListener('click', () => {
      for (const [facet] of FACETS) this.state[facet] = '';
      this.state.q = this.state.rule = '';
      this.refresh(true);
    });
    const columns = [['status', 'Status'], ['test', 'Test'], ['model', 'Model'], ['latency', 'Latency', 1], ['ttft', 'TTFT', 1],
      ['tokens', 'Tokens', 1], ['cost', 'Cost', 1], ['score', words(this.calls.data.scorers[0] || 'Score'), 1]];
    this.heads = columns.map(([key, title, right]) => {
      const button = make('button', { type: 'button' }, title);
      button.addEventListener('click', () => this.order(key));
      return make('div', { role: 'columnheader', class: right ? 'num' : null, 'data-key': key, 'aria-sort': 'none' }, button);
    });
    this.pane = make('div', { class: 'pane', role: 'rowgroup' });
    this.space = make('div', { class: 'space', role: 'presentation' }, this.pane);
    const head = make('div', { class: 'top', role: 'rowgroup' }, make('div', { class: 'row head', role: 'row' }, ...this.heads));
    this.view = make('div', { class: 'view', tabindex: '0', role: 'grid', 'aria-label': 'Calls: arrow keys move, Enter opens', 'aria-colcount': 8 }, head, this.space);
    this.view.addEventListener('scroll', () => this.draw(), { passive: true });
    this.view.addEventListener('keydown', (event) => this.keys(event));
    this.view.addEventListener('click', (event) => {
      const row = event.target.closest('.pane .row');
      if (row) { this.at = Number(row.dataset.at); this.draw(); this.open(this.rows[this.at]); }
    });
    new ResizeObserver(() => this.draw()).observe(this.view);
    host.append(make('div', { class: 'tools', role: 'search' }, this.search, this.rule, ...this.selects, this.clear, this.count), this.view);
    host.hidden = false;
    by('static').remove();
  }
  facet(facet, any) {
    const [values, codes] = this.calls.data.dict[facet];
    if (values.length < 2 || values.length > 400) return null;
    const counts = new Array(values.length).fill(0);
    for (const code of codes) if (code >= 0) counts[code] += 1;
    const node = make('select', { 'aria-label': any.replace('Any ', 'Filter by '), 'data-facet': facet }, make('option', { value: '' }, any));
    for (const i of values.keys()) {
      const option = make('option', {});
      option.value = values[i];
      option.textContent = words(values[i]).replace(CONTROL, '?') + ' (' + number(counts[i]) + ')';
      node.append(option);
    }
    node.addEventListener('change', () => { this.state[facet] = node.value; this.refresh(true); });
    return node;
  }
  order(key) {
    const down = ['latency', 'ttft', 'tokens', 'cost'].includes(key);
    const first = (down ? '-' : '') + key, second = (down ? '' : '-') + key;
    this.state.sort = this.state.sort === first ? second : this.state.sort === second ? '' : first;
    this.refresh(true);
  }
  // Show what the state says; `tell` where a person changed it, so that the address follows.
  refresh(tell) {
    const { state } = this;
    this.rows = select(this.calls, state);
    this.at = 0;
    this.search.value = state.q;
    this.search.classList.toggle('on', Boolean(state.q));
    for (const node of this.selects) {
      node.value = state[node.dataset.facet] || '';
      node.classList.toggle('on', Boolean(node.value));
    }
    this.rule.hidden = !state.rule;
    if (state.rule) this.rule.replaceChildren('behind ', show(make('code', {}), state.rule), ' ✕');
    this.clear.hidden = !(state.q || state.rule || FACETS.some(([facet]) => state[facet]));
    for (const head of this.heads) {
      const own = state.sort.replace('-', '') === head.dataset.key;
      head.setAttribute('aria-sort', own ? (state.sort.startsWith('-') ? 'descending' : 'ascending') : 'none');
      head.firstChild.textContent = head.firstChild.textContent.replace(/ [▴▾]$/, '') + (own ? (state.sort.startsWith('-') ? ' ▾' : ' ▴') : '');
    }
    this.count.textContent = this.rows.length === this.calls.n ? number(this.calls.n) + ' calls' : number(this.rows.length) + ' of ' + number(this.calls.n) + ' calls';
    this.view.setAttribute('aria-rowcount', this.rows.length + 1);
    this.space.style.height = this.rows.length * HEIGHT + 'px';
    this.view.scrollTop = 0;
    this.draw();
    if (tell) this.changed();
  }
  draw() {
    const first = Math.max(0, Math.floor(this.view.scrollTop / HEIGHT) - EXTRA);
    const last = Math.min(this.rows.length, first + Math.ceil((this.view.clientHeight || 700) / HEIGHT) + 2 * EXTRA);
    this.pane.style.transform = 'translateY(' + first * HEIGHT + 'px)';
    const nodes = [];
    for (let at = first; at < last; at += 1) nodes.push(this.row(at));
    if (!this.rows.length) nodes.push(make('p', { class: 'empty' }, 'No call fits. Clear the search or a filter.'));
    this.pane.replaceChildren(...nodes);
    const active = this.rows.length ? 'row-' + this.at : null;
    if (active && by(active)) this.view.setAttribute('aria-activedescendant', active);
    else this.view.removeAttribute('aria-activedescendant');
  }
  row(at) {
    const c = this.calls, row = this.rows[at], status = c.text('status', row), outcome = c.text('outcome', row);
    const failed = status !== 'success', bad = outcome === 'failed' || outcome === 'error';
    const [mark, word, state] = failed ? ['✗', words(status), 'broken'] : bad ? ['✗', 'test ' + words(outcome), 'broken'] : ['✓', 'ok', 'holds'];
    const cell = (kind, ...inside) => make('div', { role: 'gridcell', class: kind }, ...inside);
    const latency = c.latency[row], slow = c.data.slow !== null && latency !== null && latency > c.data.slow;
    const bar = make('i', {});
    bar.style.width = latency === null ? '0' : Math.max(1, 100 * Math.sqrt(latency / this.top)) + '%';
    const value = c.score[row];
    const who = show(cell('who'), c.name(row));
    if (c.repeat[row] || c.attempt[row]) who.append(make('small', {}, '#' + (c.repeat[row] + 1) + (c.attempt[row] ? ' rerun ' + c.attempt[row] : '')));
    who.title = c.node(row).replace(CONTROL, '?');
    return make('div', { class: 'row' + (at === this.at ? ' at' : ''), role: 'row', id: 'row-' + at, 'data-at': at, 'aria-rowindex': at + 2, 'aria-selected': at === this.at ? 'true' : 'false' },
      cell('', make('span', { class: 'state ' + state }, make('b', { 'aria-hidden': 'true' }, mark), ' ' + word)),
      who, show(cell(''), c.text('model', row)),
      cell('num lat' + (slow ? ' slow' : ''), bar, make('span', { class: slow ? 'low' : null }, seconds(latency))),
      cell('num', seconds(c.ttft[row])),
      cell('num', number(c.input[row]) + ' → ' + number(c.output[row])), cell('num', dollars(c.usd[row])),
      cell('num' + (value !== null && value < 500 ? ' low' : ''), share(value)));
  }
  move(to) {
    this.at = Math.max(0, Math.min(this.rows.length - 1, to));
    const top = this.at * HEIGHT, view = this.view;
    // the head of the table covers one row's height at the top
    if (top < view.scrollTop) view.scrollTop = top;
    else if (top + 2 * HEIGHT > view.scrollTop + view.clientHeight) view.scrollTop = top + 2 * HEIGHT - view.clientHeight;
    this.draw();
  }
  keys(event) {
    if (event.target !== this.view) return;
    const page = Math.max(1, Math.floor(this.view.clientHeight / HEIGHT) - 1);
    const to = { ArrowDown: this.at + 1, j: this.at + 1, ArrowUp: this.at - 1, k: this.at - 1, PageDown: this.at + page,
      PageUp: this.at - page, Home: 0, End: this.rows.length - 1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (to !== undefined) this.move(to);
    else if (event.key === 'Enter' && this.rows.length) this.open(this.rows[this.at]);
    else return;
    event.preventDefault();
  }
}
