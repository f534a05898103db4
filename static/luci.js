// Replaces parts of the page with what luci pushes, and shows whether the link to luci is alive. Everything on the
// pages works without this script.
"use strict";

(() => {
  const back = document.querySelector("[data-back]");
  if (back) back.addEventListener("click", () => history.back());

  // A long form is searched as one types; what does not fit is hidden, and what was folded away opens.
  const filter = document.querySelector("[data-filter]");
  if (filter) {
    filter.closest("[data-filter-box]").hidden = false;
    const form = filter.form;
    const folds = [...form.querySelectorAll("details.advanced")].map((fold) => [fold, fold.open]);
    filter.addEventListener("keydown", (event) => {
      if (event.key === "Enter") event.preventDefault();
    });
    filter.addEventListener("input", () => {
      const wanted = filter.value.trim().toLowerCase();
      for (const field of form.querySelectorAll(".field")) {
        field.hidden = wanted !== "" && !(field.dataset.field + " " + field.textContent).toLowerCase().includes(wanted);
      }
      for (const [fold, open] of folds) fold.open = wanted === "" ? open : fold.querySelector(".field:not([hidden])") !== null;
    });
  }

  const words = document.body.dataset;
  const url = words.live;
  const light = document.getElementById("link-state");
  if (!url || !window.EventSource) return;
  const waiting = new Map();

  const say = (kind, text) => {
    if (!light || light.dataset.kind === kind) return;
    light.dataset.kind = kind;
    light.textContent = text;
  };

  // A part in which somebody is typing or choosing is replaced when they are done.
  const busy = (element) => {
    const active = document.activeElement;
    return active && element.contains(active) && active.matches("input:not([type=hidden]), select, textarea");
  };

  const replace = (id, html) => {
    const old = document.getElementById(id);
    if (!old) return;
    if (busy(old)) {
      waiting.set(id, html);
      return;
    }
    waiting.delete(id);
    const open = [...old.querySelectorAll("details[open][id]")].map((details) => details.id);
    const kept = [...old.querySelectorAll("select[id], input[id]:not([type=hidden])")].map((field) => [field.id, field.value, field.checked]);
    const focus = document.activeElement && old.contains(document.activeElement) ? document.activeElement.dataset.test : null;
    const template = document.createElement("template");
    template.innerHTML = html;
    const fresh = template.content.querySelector("#" + CSS.escape(id));
    if (!fresh) return;
    old.replaceWith(fresh);
    for (const details of open) document.getElementById(details)?.setAttribute("open", "");
    for (const [field, value, checked] of kept) {
      const element = document.getElementById(field);
      if (!element || !fresh.contains(element)) continue;
      element.value = value;
      if (checked !== undefined) element.checked = checked;
    }
    if (focus) fresh.querySelector(`[data-test="${CSS.escape(focus)}"]`)?.focus();
  };

  document.addEventListener("focusout", () => {
    setTimeout(() => {
      for (const [id, html] of [...waiting]) replace(id, html);
    });
  });

  const source = new EventSource(url);
  source.addEventListener("panel", (event) => {
    const part = JSON.parse(event.data);
    say("ok", words.sayLive);
    replace(part.id, part.html);
  });
  source.onopen = () => say("ok", words.sayLive);
  source.onerror = () => {
    say("bad", source.readyState === EventSource.CLOSED ? words.sayClosed : words.sayWaiting);
    document.body.classList.add("unlinked");
  };
  source.addEventListener("open", () => document.body.classList.remove("unlinked"));
})();
