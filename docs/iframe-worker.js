// Pages from the disk may start no worker, in which the search would run. A hidden frame of the page takes its place.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.appendChild(frame);
      const inside = frame.contentWindow;
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      inside.importScripts = (...scripts) =>
        scripts.reduce((before, script) => before.then(() => load(inside.document, script)), Promise.resolve());
      this.inside = inside;
      this.ready = load(inside.document, url);
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new this.inside.MessageEvent("message", { data })));
    }

    terminate() {
      this.inside.frameElement.remove();
    }
  };
}

function load(page, address) {
  return new Promise((done, failed) => {
    const script = page.createElement("script");
    Object.assign(script, { src: new URL(address, location.href).href, onload: done, onerror: failed });
    page.body.appendChild(script);
  });
}
