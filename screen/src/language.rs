//! The screen's own words in the phone's language. A message is the owner's own, and is never translated.

/// The words of one language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels {
    /// ISO 639 code.
    pub tag: &'static str,
    /// The title.
    pub lost: &'static str,
    /// Above the owner's contact.
    pub contact: &'static str,
    /// The button that opens the keypad.
    pub enter_code: &'static str,
    /// The keypad's title.
    pub code: &'static str,
    /// After a wrong code.
    pub wrong: &'static str,
    /// After a code that nobody could look at.
    pub unheard: &'static str,
    /// Before the time that is left, as `0:30`.
    pub wait: &'static str,
    /// Takes the last digit back.
    pub delete: &'static str,
    /// Closes the keypad.
    pub back: &'static str,
    /// Where no emergency call can be made.
    pub no_emergency: &'static str,
    /// The button that makes one.
    pub emergency: &'static str,
    /// Before the number that is being called.
    pub calling: &'static str,
    /// A call that did not come about.
    pub failed: &'static str,
    /// Ends a call.
    pub hang_up: &'static str,
    /// A call of the owner's rings.
    pub owner_calls: &'static str,
    /// Answers it.
    pub answer: &'static str,
    /// Leads on to the passphrase of the phone's disk.
    pub passphrase: &'static str,
}

/// English, which every phone can show.
pub const ENGLISH: Labels = Labels {
    tag: "en",
    lost: "This phone is lost",
    contact: "Please contact",
    enter_code: "Enter code",
    code: "Unlock code",
    wrong: "Wrong code",
    unheard: "Could not be checked – try again",
    wait: "Wait",
    delete: "Delete",
    back: "Back",
    no_emergency: "No emergency calls from this screen",
    emergency: "Emergency call",
    calling: "Calling",
    failed: "The call failed",
    hang_up: "Hang up",
    owner_calls: "The owner is calling",
    answer: "Answer",
    passphrase: "Touch to type the passphrase",
};

/// Every language, English first.
pub const ALL: [Labels; 17] = [
    ENGLISH,
    // German.
    Labels {
        tag: "de",
        lost: "Dieses Telefon ist verloren",
        contact: "Bitte melden bei",
        enter_code: "Code eingeben",
        code: "Entsperrcode",
        wrong: "Falscher Code",
        unheard: "Nicht geprüft – noch einmal versuchen",
        wait: "Warten",
        delete: "Löschen",
        back: "Zurück",
        no_emergency: "Von diesem Bildschirm sind keine Notrufe möglich",
        emergency: "Notruf",
        calling: "Ruft an:",
        failed: "Der Anruf ist gescheitert",
        hang_up: "Auflegen",
        owner_calls: "Der Besitzer ruft an",
        answer: "Annehmen",
        passphrase: "Berühren, um das Passwort einzugeben",
    },
    // French.
    Labels {
        tag: "fr",
        lost: "Ce téléphone est perdu",
        contact: "Veuillez contacter",
        enter_code: "Saisir le code",
        code: "Code de déverrouillage",
        wrong: "Code erroné",
        unheard: "Non vérifié – réessayez",
        wait: "Patientez",
        delete: "Effacer",
        back: "Retour",
        no_emergency: "Pas d’appel d’urgence depuis cet écran",
        emergency: "Appel d’urgence",
        calling: "Appel en cours :",
        failed: "L’appel a échoué",
        hang_up: "Raccrocher",
        owner_calls: "Le propriétaire appelle",
        answer: "Répondre",
        passphrase: "Toucher pour saisir le mot de passe",
    },
    // Spanish.
    Labels {
        tag: "es",
        lost: "Este teléfono está perdido",
        contact: "Por favor, contacte con",
        enter_code: "Introducir código",
        code: "Código de desbloqueo",
        wrong: "Código incorrecto",
        unheard: "No se pudo comprobar: inténtelo de nuevo",
        wait: "Espere",
        delete: "Borrar",
        back: "Volver",
        no_emergency: "Desde esta pantalla no se pueden hacer llamadas de emergencia",
        emergency: "Llamada de emergencia",
        calling: "Llamando:",
        failed: "La llamada ha fallado",
        hang_up: "Colgar",
        owner_calls: "El propietario está llamando",
        answer: "Responder",
        passphrase: "Toque para escribir la contraseña",
    },
    // Italian.
    Labels {
        tag: "it",
        lost: "Questo telefono è smarrito",
        contact: "Per favore contattare",
        enter_code: "Inserisci il codice",
        code: "Codice di sblocco",
        wrong: "Codice errato",
        unheard: "Verifica non riuscita – riprova",
        wait: "Attendere",
        delete: "Cancella",
        back: "Indietro",
        no_emergency: "Da questa schermata non si possono fare chiamate di emergenza",
        emergency: "Chiamata di emergenza",
        calling: "Chiamata in corso:",
        failed: "La chiamata non è riuscita",
        hang_up: "Riaggancia",
        owner_calls: "Il proprietario sta chiamando",
        answer: "Rispondi",
        passphrase: "Toccare per inserire la password",
    },
    // Portuguese.
    Labels {
        tag: "pt",
        lost: "Este telefone está perdido",
        contact: "Por favor, contacte",
        enter_code: "Inserir código",
        code: "Código de desbloqueio",
        wrong: "Código errado",
        unheard: "Não foi possível verificar – tente de novo",
        wait: "Aguarde",
        delete: "Apagar",
        back: "Voltar",
        no_emergency: "Não é possível fazer chamadas de emergência neste ecrã",
        emergency: "Chamada de emergência",
        calling: "A ligar:",
        failed: "A chamada falhou",
        hang_up: "Desligar",
        owner_calls: "O proprietário está a ligar",
        answer: "Atender",
        passphrase: "Toque para escrever a palavra-passe",
    },
    // Dutch.
    Labels {
        tag: "nl",
        lost: "Deze telefoon is verloren",
        contact: "Neem contact op met",
        enter_code: "Code invoeren",
        code: "Ontgrendelcode",
        wrong: "Verkeerde code",
        unheard: "Niet gecontroleerd – probeer opnieuw",
        wait: "Wacht",
        delete: "Wissen",
        back: "Terug",
        no_emergency: "Noodoproepen zijn op dit scherm niet mogelijk",
        emergency: "Noodoproep",
        calling: "Belt:",
        failed: "De oproep is mislukt",
        hang_up: "Ophangen",
        owner_calls: "De eigenaar belt",
        answer: "Opnemen",
        passphrase: "Tik om het wachtwoord in te voeren",
    },
    // Swedish.
    Labels {
        tag: "sv",
        lost: "Den här telefonen är borttappad",
        contact: "Vänligen kontakta",
        enter_code: "Ange kod",
        code: "Upplåsningskod",
        wrong: "Fel kod",
        unheard: "Kunde inte kontrolleras – försök igen",
        wait: "Vänta",
        delete: "Radera",
        back: "Tillbaka",
        no_emergency: "Nödsamtal är inte möjliga från den här skärmen",
        emergency: "Nödsamtal",
        calling: "Ringer:",
        failed: "Samtalet misslyckades",
        hang_up: "Lägg på",
        owner_calls: "Ägaren ringer",
        answer: "Svara",
        passphrase: "Tryck för att ange lösenordet",
    },
    // Polish.
    Labels {
        tag: "pl",
        lost: "Ten telefon został zgubiony",
        contact: "Proszę o kontakt",
        enter_code: "Wpisz kod",
        code: "Kod odblokowania",
        wrong: "Błędny kod",
        unheard: "Nie udało się sprawdzić – spróbuj ponownie",
        wait: "Czekaj",
        delete: "Usuń",
        back: "Wstecz",
        no_emergency: "Z tego ekranu nie można wykonać połączenia alarmowego",
        emergency: "Połączenie alarmowe",
        calling: "Łączenie:",
        failed: "Połączenie nie powiodło się",
        hang_up: "Rozłącz",
        owner_calls: "Dzwoni właściciel",
        answer: "Odbierz",
        passphrase: "Dotknij, aby wpisać hasło",
    },
    // Turkish.
    Labels {
        tag: "tr",
        lost: "Bu telefon kayıp",
        contact: "Lütfen iletişime geçin",
        enter_code: "Kodu gir",
        code: "Kilit açma kodu",
        wrong: "Yanlış kod",
        unheard: "Denetlenemedi – tekrar deneyin",
        wait: "Bekleyin",
        delete: "Sil",
        back: "Geri",
        no_emergency: "Bu ekrandan acil arama yapılamaz",
        emergency: "Acil arama",
        calling: "Aranıyor:",
        failed: "Arama başarısız oldu",
        hang_up: "Kapat",
        owner_calls: "Telefonun sahibi arıyor",
        answer: "Yanıtla",
        passphrase: "Parolayı yazmak için dokunun",
    },
    // Russian.
    Labels {
        tag: "ru",
        lost: "Этот телефон потерян",
        contact: "Пожалуйста, свяжитесь",
        enter_code: "Ввести код",
        code: "Код разблокировки",
        wrong: "Неверный код",
        unheard: "Не удалось проверить – повторите",
        wait: "Подождите",
        delete: "Удалить",
        back: "Назад",
        no_emergency: "С этого экрана нельзя звонить в экстренные службы",
        emergency: "Экстренный вызов",
        calling: "Вызов:",
        failed: "Звонок не удался",
        hang_up: "Завершить",
        owner_calls: "Звонит владелец",
        answer: "Ответить",
        passphrase: "Коснитесь, чтобы ввести пароль",
    },
    // Ukrainian.
    Labels {
        tag: "uk",
        lost: "Цей телефон загублено",
        contact: "Будь ласка, зв’яжіться",
        enter_code: "Ввести код",
        code: "Код розблокування",
        wrong: "Неправильний код",
        unheard: "Не вдалося перевірити – спробуйте ще раз",
        wait: "Зачекайте",
        delete: "Видалити",
        back: "Назад",
        no_emergency: "З цього екрана не можна телефонувати екстреним службам",
        emergency: "Екстрений виклик",
        calling: "Виклик:",
        failed: "Дзвінок не вдався",
        hang_up: "Завершити",
        owner_calls: "Телефонує власник",
        answer: "Відповісти",
        passphrase: "Торкніться, щоб ввести пароль",
    },
    // Greek.
    Labels {
        tag: "el",
        lost: "Αυτό το τηλέφωνο έχει χαθεί",
        contact: "Παρακαλώ επικοινωνήστε",
        enter_code: "Εισαγωγή κωδικού",
        code: "Κωδικός ξεκλειδώματος",
        wrong: "Λάθος κωδικός",
        unheard: "Δεν ελέγχθηκε – δοκιμάστε ξανά",
        wait: "Περιμένετε",
        delete: "Διαγραφή",
        back: "Πίσω",
        no_emergency: "Δεν είναι δυνατές κλήσεις έκτακτης ανάγκης από αυτή την οθόνη",
        emergency: "Κλήση έκτακτης ανάγκης",
        calling: "Κλήση:",
        failed: "Η κλήση απέτυχε",
        hang_up: "Τερματισμός",
        owner_calls: "Καλεί ο κάτοχος",
        answer: "Απάντηση",
        passphrase: "Αγγίξτε για να πληκτρολογήσετε τον κωδικό",
    },
    // Arabic.
    Labels {
        tag: "ar",
        lost: "هذا الهاتف مفقود",
        contact: "يرجى الاتصال",
        enter_code: "إدخال الرمز",
        code: "رمز فتح القفل",
        wrong: "رمز خاطئ",
        unheard: "تعذر التحقق – حاول مرة أخرى",
        wait: "انتظر",
        delete: "حذف",
        back: "رجوع",
        no_emergency: "لا يمكن إجراء مكالمات الطوارئ من هذه الشاشة",
        emergency: "مكالمة طوارئ",
        calling: "جارٍ الاتصال:",
        failed: "فشلت المكالمة",
        hang_up: "إنهاء المكالمة",
        owner_calls: "المالك يتصل",
        answer: "رد",
        passphrase: "المس لكتابة كلمة المرور",
    },
    // Hindi.
    Labels {
        tag: "hi",
        lost: "यह फ़ोन खो गया है",
        contact: "कृपया संपर्क करें",
        enter_code: "कोड डालें",
        code: "अनलॉक कोड",
        wrong: "ग़लत कोड",
        unheard: "जाँच नहीं हो सकी – फिर कोशिश करें",
        wait: "रुकें",
        delete: "मिटाएँ",
        back: "वापस",
        no_emergency: "इस स्क्रीन से आपातकालीन कॉल संभव नहीं है",
        emergency: "आपातकालीन कॉल",
        calling: "कॉल हो रही है:",
        failed: "कॉल नहीं हो सकी",
        hang_up: "कॉल काटें",
        owner_calls: "फ़ोन का मालिक कॉल कर रहा है",
        answer: "उत्तर दें",
        passphrase: "पासवर्ड डालने के लिए छुएँ",
    },
    // Japanese.
    Labels {
        tag: "ja",
        lost: "この電話は紛失中です",
        contact: "ご連絡ください",
        enter_code: "コードを入力",
        code: "ロック解除コード",
        wrong: "コードが違います",
        unheard: "確認できません。もう一度お試しください",
        wait: "お待ちください",
        delete: "削除",
        back: "戻る",
        no_emergency: "この画面から緊急通報はできません",
        emergency: "緊急通報",
        calling: "発信中:",
        failed: "発信できませんでした",
        hang_up: "切る",
        owner_calls: "持ち主から電話です",
        answer: "応答",
        passphrase: "タッチしてパスワードを入力",
    },
    // Chinese.
    Labels {
        tag: "zh",
        lost: "此手机已丢失",
        contact: "请联系",
        enter_code: "输入代码",
        code: "解锁代码",
        wrong: "代码错误",
        unheard: "无法验证，请重试",
        wait: "请等待",
        delete: "删除",
        back: "返回",
        no_emergency: "无法从此屏幕拨打紧急电话",
        emergency: "紧急呼叫",
        calling: "正在呼叫:",
        failed: "呼叫失败",
        hang_up: "挂断",
        owner_calls: "机主来电",
        answer: "接听",
        passphrase: "轻触以输入密码",
    },
];

impl Labels {
    /// The words for a locale such as `de_DE.UTF-8`; English for an unknown one, for `C` and for none.
    #[must_use]
    pub fn of_locale(locale: &str) -> Self {
        let tag = locale
            .split(['_', '-', '.', '@'])
            .next()
            .unwrap_or_default();
        let found = ALL
            .iter()
            .find(|labels| labels.tag.eq_ignore_ascii_case(tag));
        found.copied().unwrap_or(ENGLISH)
    }

    /// Every word, for whoever looks for letters without a font.
    #[must_use]
    pub fn words(&self) -> [&'static str; 17] {
        [
            self.lost,
            self.contact,
            self.enter_code,
            self.code,
            self.wrong,
            self.unheard,
            self.wait,
            self.delete,
            self.back,
            self.no_emergency,
            self.emergency,
            self.calling,
            self.failed,
            self.hang_up,
            self.owner_calls,
            self.answer,
            self.passphrase,
        ]
    }
}

/// The locale that `locale.conf` (or Debian's `default/locale`) names: the value of `LC_MESSAGES`, else of `LANG`.
#[must_use]
pub fn locale_of(file: &str) -> Option<String> {
    let value = |key: &str| {
        file.lines().rev().find_map(|line| {
            let (name, value) = line.trim().split_once('=')?;
            let name = name.trim();
            let name = name.strip_prefix("export ").unwrap_or(name).trim();
            let value = value.trim().trim_matches(['"', '\'']);
            // Alpine's profile takes what is set already, else what stands after the dash.
            let given = value
                .strip_prefix("${")
                .and_then(|rest| rest.split_once(":-"));
            let value = given.map_or(value, |(_, rest)| rest.trim_end_matches('}'));
            (name == key && !value.is_empty()).then(|| value.to_owned())
        })
    };
    value("LC_MESSAGES").or_else(|| value("LANG"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_finds_its_language_and_an_unknown_one_is_english() {
        for (locale, tag) in [
            ("de_DE.UTF-8", "de"),
            ("pt-BR", "pt"),
            ("zh_CN.GB18030", "zh"),
            ("C.UTF-8", "en"),
            ("", "en"),
            ("xx_YY", "en"),
            ("sr@latin", "en"),
        ] {
            assert_eq!(Labels::of_locale(locale).tag, tag, "{locale}");
        }
    }

    #[test]
    fn the_system_s_file_names_the_locale() {
        let file = "# comment\nLANG=\"en_GB.UTF-8\"\nLC_MESSAGES='fr_FR.UTF-8'\nLANG=\n";
        assert_eq!(locale_of(file).as_deref(), Some("fr_FR.UTF-8"));
        assert_eq!(locale_of("LANG=el_GR\n").as_deref(), Some("el_GR"));
        assert_eq!(locale_of("LC_TIME=de_DE\n"), None);
        let profile = "export CHARSET=${CHARSET:-UTF-8}\nexport LANG=${LANG:-C.UTF-8}\n";
        assert_eq!(locale_of(profile).as_deref(), Some("C.UTF-8"));
        assert_eq!(
            locale_of("export LANG=de_DE.UTF-8").as_deref(),
            Some("de_DE.UTF-8")
        );
    }

    #[test]
    fn every_language_says_everything_in_its_own_words() {
        assert!(ALL.len() >= 12);
        for (index, labels) in ALL.iter().enumerate() {
            assert!(labels.words().iter().all(|word| !word.trim().is_empty()));
            let others = ALL.iter().skip(index + 1);
            for other in others {
                assert_ne!(labels.tag, other.tag);
                assert_ne!(labels.lost, other.lost);
                assert_ne!(labels.no_emergency, other.no_emergency);
            }
        }
    }
}
