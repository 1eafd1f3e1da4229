package javax.annotation;

/** What generated clients are marked with; Java itself no longer comes with it. */
public @interface Nullable {
    String value() default "";

    String comments() default "";
}
