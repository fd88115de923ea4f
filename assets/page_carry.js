// Takes prompt and settings along from the form that was shown to the one that is chosen.
studio.carry = (() => {
  "use strict";

  const { byId } = studio.dom;
  const KEEP = { __type__: "update" };

  const brought = {}; // what was carried into each control, by mode and name

  const same = (one, other) => String(one) === String(other);

  // The controls of every mode by name, from the values of all, which come in one row.
  function heldIn(fields, values) {
    const left = [...values];
    return Object.fromEntries(Object.entries(fields).map(([mode, own]) =>
      [mode, Object.fromEntries(Object.keys(own).map((name) => [name, left.shift()]))]));
  }

  function into(mode, from, values) {
    const fields = JSON.parse(byId("carried").dataset.fields);
    const held = heldIn(fields, values);
    return Object.entries(fields[mode]).map(([name, field]) => {
      const value = held[from]?.[name];
      if (mode === from || !fits(field, fields[from]?.[name], value)) return KEEP;
      if (!untouched(mode, name, field, held[mode][name])) return KEEP;
      (brought[mode] ??= {})[name] = value;
      return same(value, held[mode][name]) ? KEEP : { __type__: "update", value };
    });
  }

  const fits = (field, source, value) =>
    source && same(source.default, field.default) && (field.among?.includes(value) ?? true);

  const untouched = (mode, name, field, value) =>
    same(value ?? "", field.default) || same(value, brought[mode]?.[name] ?? field.default);

  return { into };
})();
