//! The macro that makes the typed structs of the table of settings, their reading and their change, and the
//! descriptions for the annotated file.

/// Declares the sections and their settings. The names in it are those of the file that calls it.
macro_rules! settings {
    ($(
        $(#[doc = $about:literal])+
        [$section:ident] $Section:ident {$(
            $(#[doc = $doc:literal])+
            $key:ident: $type:ty = $default:tt in $allowed:expr,
        )+}
    )+) => {
        /// The whole configuration, checked. Two configurations are equal if their values are, whatever their sources.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($(#[doc = $about])+ pub $section: $Section,)+
            origins: Origins,
            warnings: Vec<Problem>,
        }

        impl Config {
            fn read(mut reader: Reader) -> Result<Self, Vec<Problem>> {
                $(let $section = $Section::read(&mut reader);)+
                let Read { origins, problems, warnings } = reader.finish();
                match ($($section,)+) {
                    ($(Some($section),)+) if problems.is_empty() => Ok(Self { $($section,)+ origins, warnings }),
                    _ => Err(problems),
                }
            }

            /// Sets the setting `key` to a value. Rules between settings are not checked.
            fn set(&mut self, key: &str, raw: &Raw, source: Source) -> Result<(), Problem> {
                $($({
                    const KEY: &str = concat!(stringify!($section), ".", stringify!($key));
                    if key == KEY {
                        let origin;
                        (self.$section.$key, origin) = layers::read(KEY, raw, source, &$allowed)?;
                        self.origins.0.insert(KEY, origin);
                        return Ok(());
                    }
                })+)+
                Err(layers::not_live(key))
            }
        }

        impl PartialEq for Config {
            fn eq(&self, other: &Self) -> bool {
                $(self.$section == other.$section)&&+
            }
        }

        $(
            $(#[doc = $about])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section {$(
                $(#[doc = $doc])+
                #[doc = concat!(" Defaults to `", stringify!($default), "`.")]
                pub $key: $type,
            )+}

            impl $Section {
                fn read(reader: &mut Reader) -> Option<Self> {
                    $(let $key: Option<$type> =
                        reader.value(concat!(stringify!($section), ".", stringify!($key)), &$allowed);)+
                    Some(Self { $($key: $key?,)+ })
                }
            }
        )+

        static SECTIONS: LazyLock<Vec<Section>> = LazyLock::new(|| vec![$(Section {
            name: stringify!($section),
            about: &[$($about),+],
            settings: vec![$(Setting {
                key: concat!(stringify!($section), ".", stringify!($key)),
                name: stringify!($key),
                about: &[$($doc),+],
                default: stringify!($default),
                allowed: Allowed::<$type>::form(&$allowed),
            },)+],
        },)+]);
    };
}

pub(super) use settings;
