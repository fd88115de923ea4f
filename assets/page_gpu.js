// Where a GPU is lent to visitors, an event of Gradio's tells who asks: the Hub gives its requests
// a fresh token. So one goes ahead of whatever has a job run again.
studio.gpu = (() => {
  "use strict";

  let waiting = [];

  function visit() {
    const button = studio.dom.byId("gpu-visit");
    if (!button) return Promise.resolve();
    return new Promise((resolve) => {
      waiting.push(resolve);
      if (waiting.length === 1) button.click();
    });
  }

  // After the event, however it has ended: what comes next says what is wrong.
  function came() {
    const all = waiting;
    waiting = [];
    for (const resolve of all) resolve();
  }

  return { visit, came };
})();
