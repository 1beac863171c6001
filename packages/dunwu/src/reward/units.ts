/** A unit in its dimension's first unit: 1 km is 1000 of `m`. */
export interface Unit {
  readonly dimension: string;
  readonly factor: number;
}

/** `dimension: factor names…`, the names in singular and plural, both languages. Prices and counts convert too. */
const TABLE = `
m: 1 m meter meters metre metres 米 公尺
m: 1000 km kilometer kilometers kilometre kilometres 千米 公里
m: 0.01 cm centimeter centimeters centimetre centimetres 厘米
m: 0.001 mm millimeter millimeters millimetre millimetres 毫米
m: 0.1 dm decimeter decimeters 分米
m: 0.0254 in inch inches 英寸
m: 0.3048 ft foot feet 英尺
m: 0.9144 yd yard yards 码
m: 1609.344 mi mile miles 英里
g: 1 g gram grams 克
g: 1000 kg kilogram kilograms 千克 公斤
g: 0.001 mg milligram milligrams 毫克
g: 1000000 t ton tons tonne tonnes 吨
g: 500 斤
g: 28.349523125 oz ounce ounces 盎司
g: 453.59237 lb lbs pound pounds 磅
s: 1 s sec secs second seconds 秒 秒钟
s: 60 min mins minute minutes 分钟 分
s: 3600 h hr hrs hour hours 小时 时
s: 86400 day days 天 日
s: 604800 week weeks 周 星期
L: 1 L l liter liters litre litres 升
L: 0.001 mL ml milliliter milliliters 毫升
money: 1 dollar dollars yuan euro euros usd 元 美元 块 欧元
money: 0.1 角 毛
money: 0.01 cent cents fen 分钱
turn: 1 degree degrees deg 度
turn: 57.29577951308232 rad radian radians 弧度
`;

const UNITS = new Map<string, Unit>();
for (const line of TABLE.trim().split('\n')) {
  const [dimension = '', factor = '', ...names] = line.split(/:? /);
  for (const name of names) UNITS.set(name, { dimension, factor: Number(factor) });
}

/** The 2 of `cm^2`, `cm²` after folding, "square cm", 平方厘米; 3 likewise; else 1. */
function powerOf(written: string): { name: string; power: number } {
  const named = /^(sq(?:uare|\.)?|cubic|平方|立方)\s*/i.exec(written);
  if (named) {
    return { name: written.slice(named[0].length), power: /^(?:cu|立)/i.test(written) ? 3 : 2 };
  }
  const raised = /\s*(?:\^\s?\{?\s?([23])\s?\}?|([²³]))$/.exec(written);
  if (!raised) return { name: written, power: 1 };
  const power = raised[1] === '3' || raised[2] === '³' ? 3 : 2;
  return { name: written.slice(0, raised.index), power };
}

/** What a unit's text stands for, or null when it is not in the table ("apples", 个). */
export function unitOf(written: string): Unit | null {
  const { name, power } = powerOf(written.trim().replace(/[.。]$/, ''));
  const unit = UNITS.get(name) ?? UNITS.get(name.toLowerCase());
  if (!unit) return null;
  return power === 1 ? unit : { dimension: `${unit.dimension}^${power}`, factor: unit.factor ** power };
}

/** Whether two unit texts say the same unit, known or not: "Apple" and "apples", "cm" and "centimetres". */
export function sameUnit(one: string, other: string): boolean {
  const [a, b] = [unitOf(one), unitOf(other)];
  if (a && b) return a.dimension === b.dimension && a.factor === b.factor;
  const plain = (text: string) => text.toLowerCase().replace(/[\s.]/g, '').replace(/s$/, '');
  return !a && !b && plain(one) === plain(other);
}
