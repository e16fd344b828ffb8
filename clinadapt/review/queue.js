// The form of a case: keys, marking of wrong words, and the events `save` and `skip` with what the reviewer said.
const all = (path) => [...element.querySelectorAll(path)];
const one = (path) => element.querySelector(path);
let current = '';  // the case that is shown
let sent = '';  // the case that was sent a moment ago

function fresh() {  // Gradio changes elements in place, with what was typed in them; true where the case is a new one
  const shown = one('.case');
  const id = shown ? shown.dataset.case : '';
  if (id === current) return false;
  current = id;
  all('input, textarea, select').forEach((field) => { field.value = ''; });
  choose('');
  all('.word').forEach((word) => word.classList.remove('wrong-word', 'at-word'));
  if (element.contains(document.activeElement)) document.activeElement.blur();
  const note = one('.case-note');
  const evidence = one('.case-note mark');
  if (note) note.scrollTop = evidence ? Math.max(0, evidence.offsetTop - note.offsetTop - 80) : 0;
  return true;
}

function choose(verdict) {
  all('[data-verdict]').forEach((button) => {
    button.setAttribute('aria-pressed', String(button.dataset.verdict === verdict));
  });
}

function chosen() {
  const button = one('[data-verdict][aria-pressed=true]');
  return button ? button.dataset.verdict : '';
}

function toggle(word) {
  word.classList.toggle('wrong-word');
  if (word.classList.contains('wrong-word') && !['wrong', 'unsafe'].includes(chosen())) choose('wrong');
}

function go(number) {  // to a word of the answer, and return it
  const words = all('.word');
  const word = words[Math.min(words.length - 1, Math.max(0, number))];
  words.forEach((each) => each.classList.toggle('at-word', each === word));
  if (word) word.scrollIntoView({block: 'nearest'});
  return word;
}

function cursor() {  // number of the word that the arrows went to, -1 without
  return all('.word').findIndex((word) => word.classList.contains('at-word'));
}

function spans() {  // neighbouring words are one span
  const found = [];
  let before = false;
  all('.word').forEach((word) => {
    const marked = word.classList.contains('wrong-word');
    if (marked && before) found[found.length - 1][1] = Number(word.dataset.end);
    else if (marked) found.push([Number(word.dataset.start), Number(word.dataset.end)]);
    before = marked;
  });
  return found;
}

function value(name) {
  const field = one(`[name=${name}]`);
  return field ? field.value : '';
}

function send(action) {
  const shown = one('.case');
  if (!shown || sent === shown.dataset.case) return;
  sent = shown.dataset.case;
  trigger(action, {
    case: shown.dataset.case, content: shown.dataset.content, verdict: chosen(), spans: spans(),
    correction: value('correction'), fault: value('fault'), comment: value('comment'),
  });
  setTimeout(() => { sent = ''; }, 1000);  // where it was not stored, it can be sent again
}

element.addEventListener('click', (event) => {
  fresh();
  const word = event.target.closest('.word');
  const button = event.target.closest('button');
  if (word) {
    toggle(go(all('.word').indexOf(word)));
  } else if (button && button.dataset.verdict) {
    choose(button.dataset.verdict);
    button.blur();  // so that the keys go on
  } else if (button && button.dataset.do) send(button.dataset.do);
});

function keyed(event) {
  if (!element.isConnected) {
    document.removeEventListener('keydown', keyed);
    return;
  }
  const at = event.target;
  const typing = !fresh() && at.matches('input, textarea, select');
  if (element.offsetParent === null || !one('[data-verdict]') || (typing && !element.contains(at))) return;
  const pressed = element.contains(at) && at.matches('button');
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const keys = {
    r: () => choose('right'), w: () => choose('wrong'), u: () => choose('unsafe'), s: () => send('skip'),
    c: () => one('[name=correction]').focus(), ArrowLeft: () => go(cursor() - 1), ArrowRight: () => go(cursor() + 1),
    ' ': () => { if (all('.word').length) toggle(go(cursor())); },
  };
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.key === 'Escape' && typing) at.blur();
  else if (event.key === 'Enter' && !event.shiftKey && !(pressed && at.dataset.do)) send('save');
  else if (!typing && keys[key] && !(key === ' ' && pressed)) keys[key]();
  else return;
  event.preventDefault();
}

document.addEventListener('keydown', keyed);
watch('value', fresh);
