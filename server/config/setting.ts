/** What a setting is called and where it comes from, whatever its kind. */
interface SettingBase {
  /** One sentence for help and reference. */
  readonly help: string;
  /** Heading under which help and reference list it. */
  readonly group: string;
  /** Other flags that mean the same, such as those of KServe's servers. */
  readonly aliases?: readonly string[];
  /** Never printed. */
  readonly secret?: boolean;
  /** Word for the value in help, such as `FOLDER`; by default it follows from the kind. */
  readonly placeholder?: string;
}

/** Text that stands as it is; `path` is one that names a file or folder. */
export interface TextSetting extends SettingBase {
  readonly kind: "text" | "path";
  readonly default?: string;
}

/** Whole number. */
export interface IntegerSetting extends SettingBase {
  readonly kind: "integer";
  readonly default: number;
  readonly min: number;
  readonly max: number;
}

/** `--x` or `--no-x`; true or false elsewhere. */
export interface BooleanSetting extends SettingBase {
  readonly kind: "boolean";
  readonly default: boolean;
  /** Other flags that mean `--no-x`. */
  readonly opposites?: readonly string[];
}

/** One of several words. */
export interface ChoiceSetting<C extends string = string> extends SettingBase {
  readonly kind: "choice";
  readonly choices: readonly C[];
  readonly default: C;
}

/** A time such as `500ms`, `10s`, `5m`, `1h`; the value is in ms. */
export interface DurationSetting extends SettingBase {
  readonly kind: "duration";
  readonly default: string;
}

/** A size such as `512`, `64KiB`, `64MiB`, `1GiB`; the value is in bytes. */
export interface BytesSetting extends SettingBase {
  readonly kind: "bytes";
  /** Without one the value is `undefined` unless it is given. */
  readonly default?: string;
  /** What 0 means; without it 0 is refused. */
  readonly zero?: string;
}

/** Texts: the flag may be repeated, and a value may hold several. */
export interface ListSetting extends SettingBase {
  readonly kind: "list";
  /** What parts the texts of one value; `comma` without it. */
  readonly separator?: "comma" | "none";
}

/** Declaration of a setting: gives its flag, variable, file key, check, default and help. */
export type Setting =
  | TextSetting
  | IntegerSetting
  | BooleanSetting
  | ChoiceSetting
  | DurationSetting
  | BytesSetting
  | ListSetting;

/** Declarations by flag name, in the order in which help lists them. */
export type Settings = Readonly<Record<string, Setting>>;

type ValueOf<S extends Setting> = S extends { kind: "text" | "path" }
  ? S extends { default: string }
    ? string
    : string | undefined
  : S extends { kind: "bytes" }
    ? S extends { default: string }
      ? number
      : number | undefined
    : S extends ChoiceSetting<infer C>
      ? C
      : S extends { kind: "integer" | "duration" }
        ? number
        : S extends { kind: "boolean" }
          ? boolean
          : readonly string[];

/** Where a value came from. */
export type SettingSource = "flag" | "environment" | "file" | "default";

/** Values of declared settings by flag name. */
export type SettingValues<S extends Settings> = { readonly [K in keyof S]: ValueOf<S[K]> };

/** Value of a setting of any kind. */
export type SettingValue = string | number | boolean | readonly string[] | undefined;
